"""Plans the tiles of an open slide: where they are, and which of them regions and slide QC keep.

This is everything that is decided before the pixels of a tile are read.
"""
