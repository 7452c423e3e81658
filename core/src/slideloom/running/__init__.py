"""Runs many slides through a pipeline, and reports on every slide, also on those that fail."""
