"""Filters that drop grey and white tiles."""

from slideloom_filters.settings import Grayspace, Whitespace

__all__ = ["Grayspace", "Whitespace"]
