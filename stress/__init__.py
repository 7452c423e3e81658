"""Campaigns that try to break slideloom: `python -m stress` (or `nox -s stress`).

What they do and what they found is in docs/explanation/reliability.md.
"""
