"""A reader for tiled JPEG SVS and TIFF that goes straight to the bytes."""
