"""What a run would make and how long it would take, from the samples of a dry run.

Tiles kept, bytes and seconds per tile differ between the parts of a slide and between slides. How sure the totals are
is found by the bootstrap (B. Efron, Annals of Statistics 7, 1979): the totals are computed again from clusters, and if
only some slides were sampled from slides, drawn at random from those of the sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from slideloom.pipeline.pipeline import Pipeline
from slideloom.steps.estimates import Estimate, SlideSample, Span
from slideloom.steps.reports import SlideReport, Trial

_SAMPLED_SLIDES = 16
_SAMPLED_TILES, _PER_SLIDE = 1024, 256
_DRAWS = 1000
_STAGES = ("open", "plan", "qc")

Draws = NDArray[np.float64]  # (1 + draws,) or (sums, 1 + draws); first what the sample itself gives


def sample_sizes(slides: Sequence[object], *, seed: int) -> dict[int, int]:
    """How many tiles of which slides to sample, by the slide's position: of all, or of some spread over the list."""
    count = min(len(slides), _SAMPLED_SLIDES)
    if not count:
        return {}
    edges = np.linspace(0, len(slides), count + 1).astype(int)
    chosen = np.random.default_rng(seed).integers(edges[:-1], edges[1:])
    return dict.fromkeys(chosen.tolist(), min(_PER_SLIDE, _SAMPLED_TILES // count))


def estimate_of(
    pipeline: Pipeline, reports: Sequence[SlideReport], *, trial: Trial, at_once: int | None, wall_s: float
) -> Estimate | None:
    """The totals of a run, from the reports of a dry run.

    Args:
        pipeline: the pipeline.
        reports: of the dry run; those of failed slides are left out.
        trial: what kind of dry run.
        at_once: number of slides that a run processes at the same time; None if the executor decides, which is then
            judged by how long the dry run took.
        wall_s: wall time of the dry run in seconds.

    Returns:
        The estimate, or None without a sample.
    """
    done = [report for report in reports if report.status != "failed"]
    found = [report.sample for report in done if report.sample is not None]
    if not found:
        return None
    random = np.random.default_rng(pipeline.tiles.seed)
    drawn = [_drawn(sample, random) for sample in found]
    pooled, own = (
        _rates_of_all(found, drawn, random),
        iter(_Rates.of([sample], sums) for sample, sums in zip(found, drawn, strict=True)),
    )
    tiles, size, busy, longest = np.zeros((4, 1 + _DRAWS))
    for report in done:
        rates = pooled if report.sample is None else next(own)
        kept, tiles_s = _of_slide(report, rates, trial=trial, limit=pipeline.tiles.max_tiles or np.inf)
        took = tiles_s + rates.building + sum(report.seconds.get(stage, 0.0) for stage in _STAGES)
        tiles, size, busy = tiles + kept, size + kept * rates.bytes + rates.besides, busy + took
        longest = np.maximum(longest, took)
    if at_once is None:
        spent = sum(report.seconds.get(stage, 0.0) for report in done for stage in (*_STAGES, "tiles"))
        at_once = max(1, round(spent / wall_s)) if wall_s > 0 else 1
    return Estimate(
        tiles=_span(tiles),
        bytes=_span(size),
        seconds=_span(np.maximum(busy / min(at_once, len(done)), longest)),
        sampled_tiles=sum(sample.tried for sample in found),
        sampled_slides=len(found),
        slides=len(done),
    )


def _of_slide(report: SlideReport, rates: _Rates, *, trial: Trial, limit: float) -> tuple[Draws, Draws]:
    """Tiles kept, and seconds for the tiles of a slide."""
    left = float(report.kept)
    if trial == "dry-run":  # it has counted the tiles, and all but their storing is timed
        kept = np.full_like(rates.share, left)
        return kept, report.seconds.get("tiles", 0.0) + kept * rates.storing
    kept = np.minimum(left * rates.share, limit)
    tried = np.divide(kept, rates.share, out=np.full_like(kept, left), where=rates.share > 0)
    return kept, tried * rates.seconds


def _span(totals: Draws) -> Span:
    low, high = np.quantile(totals[1:], (0.025, 0.975)).tolist()
    likely = float(totals[0])
    return Span(min(low, likely), likely, max(high, likely))


@frozen
class _Rates:
    """What tiles take, in each draw.

    Attributes:
        share: share of the tiles tried that is kept.
        bytes: per tile kept.
        seconds: per tile tried.
        storing: seconds per tile kept to encode and write it.
        building, besides: seconds and bytes of the slide as a whole.
    """

    share: Draws
    bytes: Draws
    seconds: Draws
    storing: float
    building: float
    besides: float

    @classmethod
    def of(cls, samples: Sequence[SlideSample], sums: Draws) -> _Rates:
        """From the sums that `_drawn` gives; what is not drawn is the mean of the samples."""
        tried, kept, size, seconds, timed = sums
        return cls(
            share=_ratio(kept, tried),
            bytes=_ratio(size, kept),
            seconds=_ratio(seconds, timed),
            storing=float(np.mean([sample.storing for sample in samples])),
            building=float(np.mean([sample.building for sample in samples])),
            besides=float(np.mean([sample.besides for sample in samples])),
        )


def _rates_of_all(samples: Sequence[SlideSample], drawn: Sequence[Draws], random: np.random.Generator) -> _Rates:
    """The rates of a slide that was not sampled: those of all samples, of slides drawn anew, by their tiles."""
    count = len(samples)
    times = np.vstack([np.ones(count), random.multinomial(count, np.full(count, 1 / count), size=_DRAWS)])
    weights = np.array([sample.left / sample.tried for sample in samples])
    sums = np.zeros_like(drawn[0])
    for each, weight, often in zip(drawn, weights, times.T, strict=True):
        sums += each * weight * often
    return _Rates.of(samples, sums)


def _drawn(sample: SlideSample, random: np.random.Generator) -> Draws:
    """(5, 1 + draws): tiles tried, tiles kept, bytes, seconds, and tiles timed."""
    clusters = np.array([(one.tried, one.kept, one.bytes) for one in sample.clusters], float)
    passes = np.array([(seconds, tiles) for tiles, seconds in sample.passes], float)
    is_whole = sample.tried >= sample.left  # then nothing about the tiles was left to chance
    return np.vstack([_sums(clusters, random, fixed=is_whole), _sums(passes, random)])


def _sums(rows: NDArray[np.float64], random: np.random.Generator, *, fixed: bool = False) -> Draws:
    """(columns, 1 + draws): the sums of each column, first of all rows and then of as many drawn with replacement."""
    count = len(rows)
    times = np.ones((_DRAWS, count))
    if not fixed:
        times = random.multinomial(count, np.full(count, 1 / count), size=_DRAWS).astype(float)
    sums: Draws = (np.vstack([np.ones(count), times]) @ rows).T
    return sums


def _ratio(over: Draws, under: Draws) -> Draws:
    return np.divide(over, under, out=np.zeros_like(over), where=under > 0)
