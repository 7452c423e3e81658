"""Benchmarks: `python -m bench` (or `nox -s bench`); the method is in docs/benchmarks.md."""
