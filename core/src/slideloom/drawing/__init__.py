"""A slide, its regions and its tiles in, drawings out: PNG images and GeoJSON."""
