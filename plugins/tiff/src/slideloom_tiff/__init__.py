"""A reader for SVS and TIFF slides made of JPEG tiles. It reads the tiles' bytes directly."""
