"""Slides in buckets and on web servers, read through fsspec."""
