"""The progress of a run and the time left, measured in tiles, because slides differ in size a thousandfold."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import RLock

from attrs import define, field
from slideloom.base.amounts import duration
from slideloom.steps.reports import SlideReport


@define
class Pace:
    """The progress of a run. Thread-safe.

    Attributes:
        slides: total number of slides.
        clock: gives the time in seconds, from any start.
        done: number of slides that have ended, including those that failed or were skipped.
    """

    slides: int
    clock: Callable[[], float] = time.monotonic
    done: int = field(default=0, init=False)
    _at_work: dict[str, tuple[int, int]] = field(factory=dict, init=False)
    _began: float = field(init=False)
    _settled: int = field(default=0, init=False)  # tiles done, of slides that have ended
    _known: int = field(default=0, init=False)  # slides of which the number of tiles is known
    _tiles: int = field(default=0, init=False)  # their number of tiles
    _lock: RLock = field(factory=RLock, init=False)

    def __attrs_post_init__(self) -> None:
        self._began = self.clock()

    def leave_out(self, slides: int) -> None:
        """So many slides are for other runs."""
        with self._lock:
            self.slides -= slides

    def tiles(self, slide: str, done: int, total: int) -> None:
        """Note how many tiles of a slide are done, of those that masks and regions keep."""
        with self._lock:
            self._at_work[slide] = done, total

    def slide(self, report: SlideReport) -> None:
        """Note that a slide has ended."""
        with self._lock:
            self.done += 1
            done, total = self._at_work.pop(report.slide, (None, None))
            if report.status == "skipped":
                if not self._at_work and not self._settled:
                    self._began = self.clock()  # slides finished in earlier runs say nothing about the speed
            elif report.status == "failed":
                self._settled += done or 0
            else:
                tiles = _looked_at(report) if total is None else total
                self._known += 1
                self._tiles += tiles
                self._settled += tiles

    def at_work(self) -> dict[str, tuple[int, int]]:
        """For each slide whose tiles are being cut: the number of tiles done, and their total number."""
        with self._lock:
            return dict(self._at_work)

    def seconds_left(self) -> float | None:
        """Expected time to the end of the run in seconds; None before the first tile.

        A waiting slide is assumed to have the average number of tiles of the slides known so far.
        """
        with self._lock:
            known = self._known + len(self._at_work)
            settled = self._settled + sum(done for done, _ in self._at_work.values())
            if not settled or not known:
                return None
            tiles = self._tiles + sum(total for _, total in self._at_work.values())
            waiting = max(0, self.slides - self.done - len(self._at_work))
            left = sum(total - done for done, total in self._at_work.values()) + waiting * tiles / known
            return left * (self.clock() - self._began) / settled

    def words(self) -> str:
        """The time left in words, or ""."""
        seconds = self.seconds_left()
        return "" if seconds is None or self.done == self.slides else f"about {duration(seconds)} left"


def _looked_at(report: SlideReport) -> int:
    """Tiles whose pixels were read."""
    read = ("filter:", "normalizer", "dry-run")
    judged = sum(count for step, count in report.rejected.items() if step.startswith(read))
    return report.written + report.unreadable + judged
