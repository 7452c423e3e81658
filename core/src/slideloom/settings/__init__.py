"""Options in, frozen values out: help, units, ranges, reading from tables, and the digest of what affects output."""
