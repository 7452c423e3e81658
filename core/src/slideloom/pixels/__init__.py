"""Source tiles in, output pixels out: where decoded tiles lie, and resampling with sub-pixel accuracy."""
