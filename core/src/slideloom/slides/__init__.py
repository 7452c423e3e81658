"""A file in, one slide as a reader delivers it out: levels, resolution, regions, and the columns that tiles are."""
