"""Installed packages in, steps by name out: hooks, discovery, and the core's own steps."""
