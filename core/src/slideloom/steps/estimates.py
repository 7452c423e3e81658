"""What a run would make, estimated from a sample of its tiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from attrs import frozen

from slideloom.base.amounts import bytes_in_words, duration


@frozen
class Cluster:
    """Neighbouring tiles of a sample: how many were tried, how many were kept, and the bytes of those when stored."""

    tried: int
    kept: int
    bytes: int


@frozen
class SlideSample:
    """What sample tiles of one slide took.

    Attributes:
        left: tiles that the sample stands for: those that regions and slide QC leave.
        clusters: the sample, spread over the slide.
        passes: number of tiles and wall time in seconds to read, filter, normalize and store them, for several parts of
            the sample.
        storing: of that time, seconds per kept tile that went into encoding and writing.
        building: seconds to build the steps, such as to fit a normalizer to the slide.
        besides: bytes that the slide takes besides its tiles, such as its tile table.
    """

    left: int
    clusters: tuple[Cluster, ...]
    passes: tuple[tuple[int, float], ...]
    storing: float
    building: float = 0.0
    besides: int = 0

    @property
    def tried(self) -> int:
        """Number of tiles in the sample."""
        return sum(cluster.tried for cluster in self.clusters)


@frozen
class Span:
    """A number and how sure it is: 95% of such samples give one between `low` and `high`."""

    low: float
    likely: float
    high: float


@frozen
class Estimate:
    """What a run would make, and how long it would take.

    Attributes:
        tiles: number of tiles stored. A dry run counts them, so the span has no width.
        bytes: size of all outputs.
        seconds: wall time, if the machine is as busy as it was during the dry run.
        sampled_tiles: tiles that were read, encoded and stored in a temporary folder for the estimate.
        sampled_slides: slides that they are from.
        slides: slides that the estimate is for; those that failed are left out.
    """

    tiles: Span
    bytes: Span
    seconds: Span
    sampled_tiles: int
    sampled_slides: int
    slides: int

    def words(self) -> tuple[str, ...]:
        """A sentence on the sample, and the totals with their spans, a sentence each."""
        slides = "1 slide" if self.slides == 1 else f"{self.sampled_slides} of {self.slides} slides"
        return (
            f"from {self.sampled_tiles} tiles of {slides}, with 95% spans",
            _of_span(self.tiles, lambda count: f"{count:.0f}") + " tiles",
            _of_span(self.bytes, bytes_in_words),
            _of_span(self.seconds, duration),
        )

    def as_table(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return attrs.asdict(self)


def _of_span(span: Span, words: Callable[[float], str]) -> str:
    low, likely, high = map(words, (span.low, span.likely, span.high))
    return likely if low == high else f"about {likely} ({low} to {high})"
