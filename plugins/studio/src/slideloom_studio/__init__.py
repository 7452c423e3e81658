"""A page in the browser: look at slides, draw regions, see what a pipeline will do, and run it."""
