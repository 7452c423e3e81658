"""Source tiles in, output pixels out: mosaics of decoded tiles, and resampling with sub-pixel accuracy."""
