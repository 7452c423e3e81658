"""How far a run is, and how long it may still take. Tiles count, not slides: slides differ in size a thousandfold."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import RLock

from attrs import define, field
from slideloom.steps.reports import SlideReport


@define
class Pace:
    """The progress of a run; threads may share it.

    Attributes:
        slides: in all.
        clock: seconds from any start.
        done: slides that have ended, also those that failed or were skipped.
    """

    slides: int
    clock: Callable[[], float] = time.monotonic
    done: int = field(default=0, init=False)
    _at_work: dict[str, tuple[int, int]] = field(factory=dict, init=False)
    _began: float = field(init=False)
    _settled: int = field(default=0, init=False)  # tiles of slides that have ended
    _known: list[int] = field(factory=list, init=False)  # tiles that each slide had to settle
    _lock: RLock = field(factory=RLock, init=False)

    def __attrs_post_init__(self) -> None:
        self._began = self.clock()

    def tiles(self, slide: str, done: int, total: int) -> None:
        """Tiles of a slide that are settled, of those that its masks and regions left."""
        with self._lock:
            self._at_work[slide] = done, total

    def slide(self, report: SlideReport) -> None:
        """A slide has ended."""
        with self._lock:
            self.done += 1
            done, total = self._at_work.pop(report.slide, (None, None))
            if report.status == "skipped":
                if not self._at_work and not self._settled:
                    self._began = self.clock()  # what was finished before says nothing of the speed
            elif report.status == "failed":
                self._settled += done or 0
            else:
                self._known.append(_looked_at(report) if total is None else total)
                self._settled += self._known[-1]

    def at_work(self) -> dict[str, tuple[int, int]]:
        """Settled tiles, and tiles in all, of each slide whose tiles are being cut."""
        with self._lock:
            return dict(self._at_work)

    def seconds_left(self) -> float | None:
        """Expected time to the end; None before the first tile.

        A slide that waits is taken to have as many tiles as those that are known have on average.
        """
        with self._lock:
            totals = self._known + [total for _, total in self._at_work.values()]
            settled = self._settled + sum(done for done, _ in self._at_work.values())
            if not settled or not totals:
                return None
            waiting = max(0, self.slides - self.done - len(self._at_work))
            left = sum(total - done for done, total in self._at_work.values()) + waiting * sum(totals) / len(totals)
            return left * (self.clock() - self._began) / settled

    def words(self) -> str:
        """Time left as people say it, or ""."""
        seconds = self.seconds_left()
        return "" if seconds is None or self.done == self.slides else f"about {duration(seconds)} left"


def _looked_at(report: SlideReport) -> int:
    """Tiles whose pixels were read."""
    read = ("filter:", "normalizer", "dry-run")
    judged = sum(count for step, count in report.rejected.items() if step.startswith(read))
    return report.written + report.unreadable + judged


def duration(seconds: float) -> str:
    """A time as people say it: "40 s", "12 min", "3 h 20 min", "2 d 5 h"."""
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{max(1, round(seconds))} s"
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"
