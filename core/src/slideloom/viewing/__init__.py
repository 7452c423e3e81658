"""Interactive work with one slide: open it, mask it, list its tiles, look at it. Nothing is written."""
