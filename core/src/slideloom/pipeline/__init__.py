"""A file, a command line or Python in, one `Pipeline` out: which slides, which tiles, which steps."""
