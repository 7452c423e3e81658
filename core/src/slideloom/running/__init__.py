"""Slides and a pipeline in, a report on every slide out, whatever happens to some of them."""
