"""What files of slides hold, for readers of them: the structure of TIFF and OME-TIFF, OME-XML and JPEG 2000.

Names are imported from the module of a format, such as `slideloom_formats.tiff`.
"""
