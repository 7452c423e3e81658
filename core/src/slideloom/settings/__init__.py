"""Options as frozen values: help, units, ranges, reading from tables, and the digest of what affects output."""
