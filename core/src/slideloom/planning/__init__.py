"""An open slide and a pipeline in, a plan out: which tiles there are, and which of them regions and slide QC leave.

All that is decided before the pixels of a tile are read.
"""
