"""The process that a studio starts for a run: reads what to do, runs it as the command does, tells how it goes on.

Standard input holds the pickled work. Standard output holds one JSON object per line; whatever steps print goes to
standard error. Ctrl-C, or SIGINT from the studio, ends it as it ends the command: finished slides are kept.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from attrs import frozen
from slideloom.base.errors import ConfigError, SlideloomError
from slideloom.base.system_errors import in_words
from slideloom.pipeline.pipeline import Pipeline
from slideloom.running.run import run_pipeline
from slideloom.slides.names import NamedSlide
from slideloom.steps.reports import SlideReport

STOPPED, FAILED = 130, 1
_EVERY_S = 0.2


@frozen
class Work:
    """Slides that are cut with one pipeline into one folder."""

    pipeline: Pipeline
    slides: Sequence[NamedSlide]
    out: Path


class _Teller:
    """Writes messages to the studio."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._said_at = 0.0

    def say(self, **message: Any) -> None:
        with self._lock:
            self._stream.write(json.dumps(message) + "\n")
            self._stream.flush()

    def tiles(self, slide: str, done: int, total: int) -> None:
        """Progress within a slide, a few times a second."""
        now = time.monotonic()
        if now - self._said_at >= _EVERY_S or done == total:
            self._said_at = now
            self.say(slide=slide, tiles_done=done, tiles=total)

    def slide(self, report: SlideReport) -> None:
        """A slide that is finished, or failed."""
        self.say(
            report={
                "slide": report.slide,
                "status": report.status,
                "error": report.error,
                "planned": report.planned,
                "kept": report.kept,
                "seconds": sum(report.seconds.values()),
            }
        )


def _given() -> Sequence[Work]:
    """What standard input holds.

    Raises:
        ConfigError: a step is of a class that this process cannot import.
    """
    try:
        found: Sequence[Work] = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the studio that started this
    except (AttributeError, ImportError, pickle.UnpicklingError) as error:
        raise ConfigError(
            f"a step cannot be made in another process ({error}); define its class in a module, not in a notebook"
        ) from error
    return found


def main() -> int:
    """Do the work that standard input holds."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what steps print is no message
    # Whoever starts the studio in the background of a shell script hands down that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout = sys.stderr
    tell = _Teller(stream)
    try:
        tell.say(listens=True)  # to signals, which before may have been ignored
        for work in _given():
            report = run_pipeline(work.pipeline, work.slides, work.out, progress=tell.tiles, on_slide=tell.slide)
            for problem in report.problems:
                tell.say(problem=problem)
    except KeyboardInterrupt:
        return STOPPED
    except (SlideloomError, OSError) as error:
        tell.say(error=str(error) if isinstance(error, SlideloomError) else in_words(error))
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
