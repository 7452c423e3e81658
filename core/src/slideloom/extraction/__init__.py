"""A plan in, the tiles of one slide written and accounted for out."""
