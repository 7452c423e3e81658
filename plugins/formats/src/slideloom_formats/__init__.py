"""What files of slides hold, for readers of them: TIFF, DICOM, OME-XML, JPEG 2000, and slides of several files.

Names are imported from the module of a format, such as `slideloom_formats.tiff`.
"""
