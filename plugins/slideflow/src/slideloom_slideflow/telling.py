"""What is told: the version, and how much is logged."""

from __future__ import annotations

import logging

import slideloom

from slideloom_slideflow.adapting import adapted

log = logging.getLogger("slideloom")


@adapted("setLoggingLevel")
def setLoggingLevel(level: int) -> None:  # noqa: N802 - Slideflow's name
    """Log what has this level or a higher one, such as `logging.INFO`."""
    log.setLevel(level)


@adapted("getLoggingLevel")
def getLoggingLevel() -> int:  # noqa: N802 - Slideflow's name
    """The level from which on slideloom logs."""
    return log.getEffectiveLevel()


@adapted("about")
def about(console: object = None) -> None:
    """Print which version of slideloom does the work."""
    print(f"slideloom {slideloom.__version__}, by the names of Slideflow 3.0.2")  # noqa: T201 - what it is called for
