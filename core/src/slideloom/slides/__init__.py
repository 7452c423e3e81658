"""A file in, an open slide out: its levels, resolution and regions, and tiles as columns."""
