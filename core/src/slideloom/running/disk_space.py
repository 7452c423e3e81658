"""Whether the disk has room for what a run makes: asked after a dry run, and after each slide of a run."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from slideloom.base.amounts import bytes_in_words
from slideloom.base.naming import option_given
from slideloom.base.storing import names_in
from slideloom.extraction.finished import Earlier
from slideloom.extraction.job import SlideTask
from slideloom.extraction.output_folder import OutputFolder
from slideloom.slides.names import NamedSlide
from slideloom.steps.estimates import Estimate
from slideloom.steps.reports import SlideReport

_FEWEST = 3  # slides from which one may conclude on others


def free_bytes(folder: Path) -> int:
    """Bytes that can still be written to the disk of a folder, which need not exist yet."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def lack_of_space(folder: OutputFolder, estimate: Estimate, reports: Sequence[SlideReport]) -> str:
    """A sentence, if a run after this dry run would likely fill the disk; else "".

    Slides that an earlier run finished are not stored again.
    """
    done = [Earlier.of(folder, report.slide).report for report in reports if report.status != "failed"]
    there = sum(size.bytes for report in done if report is not None for size in report.sizes.values())
    likely, free = estimate.bytes.likely - there, free_bytes(folder.root)
    if likely <= free:
        return ""
    besides = f", besides {bytes_in_words(there)} that are there already" if there else ""
    return (
        f"{folder.root}: a run would take about {bytes_in_words(likely)}{besides}, and its disk has "
        f"{bytes_in_words(free)} free; {_remedy()}"
    )


class _Spread:
    """Mean and standard deviation of numbers that come one by one (B. P. Welford, Technometrics 4, 1962, 419).

    A run adds a number for each slide, so what one costs must not grow with their number.
    """

    def __init__(self) -> None:
        self.count, self.mean, self._squares = 0, 0.0, 0.0

    def add(self, number: float) -> None:
        self.count += 1
        before = number - self.mean
        self.mean += before / self.count
        self._squares += before * (number - self.mean)

    @property
    def deviation(self) -> float:
        """Of a sample, with N - 1 in the denominator; from two numbers on."""
        return math.sqrt(self._squares / (self.count - 1))


class DiskWatch:
    """Stops a run before its disk is full, once the slides that are done show that the others will not fit.

    Args:
        folder: the output folder.
        slides: of the run.
        is_on: False to let the run go on until a write fails.

    Attributes:
        problem: a sentence, as soon as no further slide is to begin; else "".
    """

    def __init__(self, folder: OutputFolder, slides: Iterable[NamedSlide], *, is_on: bool) -> None:
        self.problem = ""
        self._folder, self._is_on = folder, is_on
        earlier = set(names_in(folder.state / "slides", ".json")) if is_on else set()
        # A slide that has a report takes no more room than it does already, or it failed.
        self._new = {name for name in (slide.name for slide in slides) if name not in earlier}
        self._sizes = _Spread()

    def room_for(self, tasks: Iterable[SlideTask]) -> Iterator[SlideTask]:
        """The tasks, as long as there is room."""
        for task in tasks:
            if self.problem:
                return
            self._new.discard(task.slide.name)  # in part, what it takes is on the disk from now on
            yield task

    def look(self, report: SlideReport) -> None:
        """Judge by one more slide that has ended."""
        if report.status == "failed" or not report.sizes:
            return
        self._sizes.add(sum(size.bytes for size in report.sizes.values()))
        if not self._is_on or self.problem or not self._new or self._sizes.count < _FEWEST:
            return
        free, left = free_bytes(self._folder.root), len(self._new)
        mean, spread = self._sizes.mean, self._sizes.deviation
        # The slides so far may be large by chance: two standard errors of the sum of the others are taken off.
        least = left * mean - 2 * spread * math.sqrt(left**2 / self._sizes.count + left)
        if least > free:
            self.problem = (
                f"{self._folder.root}: stopped before its disk is full: the {left} slides that were not begun take "
                f"about {bytes_in_words(left * mean)}, and {bytes_in_words(free)} are free; finished slides are kept, "
                f"and running again goes on with the others: {_remedy()}"
            )


def _remedy() -> str:
    anyway = option_given("run", "ignore_disk_space", True)
    return f"make room, choose another output folder, or go on anyway with {anyway}"
