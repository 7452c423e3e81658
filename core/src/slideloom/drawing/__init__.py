"""A slide, its regions and its tiles in, something to look at out: PNG pictures, GeoJSON."""
