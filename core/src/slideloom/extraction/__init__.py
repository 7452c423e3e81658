"""Extracts the tiles of one planned slide: reads them, runs the steps, stores outputs, and accounts for every tile."""
