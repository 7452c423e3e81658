"""Which filter a setting means: one that looks at tiles, or one that looks where Slideflow looks."""

from __future__ import annotations

from slideloom import TileFilter

from slideloom_filters.pixels import GrayspaceFilter, WhitespaceFilter
from slideloom_filters.settings import Grayspace, Whitespace


def grayspace(settings: Grayspace) -> TileFilter:
    """The filter of gray tiles that the settings ask for."""
    if settings.measured == "slideflow":
        from slideloom_filters.slideflow import SlideflowGrayspace  # few ask for it

        return SlideflowGrayspace(threshold=settings.threshold, fraction=settings.fraction)
    return GrayspaceFilter(settings)


def whitespace(settings: Whitespace) -> TileFilter:
    """The filter of bright tiles that the settings ask for."""
    if settings.measured == "slideflow":
        from slideloom_filters.slideflow import SlideflowWhitespace  # few ask for it

        return SlideflowWhitespace(threshold=settings.threshold, fraction=settings.fraction)
    return WhitespaceFilter(settings)
