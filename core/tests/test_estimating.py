"""The estimate of a dry run: totals by the rule of proportion, and a span that shows how much the sample varies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from slideloom import SlideReport, pipeline_from_table
from slideloom.running.estimating import estimate_of, sample_sizes
from slideloom.steps.estimates import Cluster, Estimate, SlideSample

TABLE = {"slideloom": 1, "tiles": {"size_px": 64, "size_um": 64}, "filter": [], "sink": []}


def sample(
    *clusters: tuple[int, int, int], left: int, seconds: float = 0.0, storing: float = 0.0, besides: int = 0
) -> SlideSample:
    """A sample of one pass, in which each tile takes `seconds`."""
    tried = sum(cluster[0] for cluster in clusters)
    return SlideSample(
        left, tuple(Cluster(*each) for each in clusters), ((tried, tried * seconds),), storing, 0.0, besides
    )


def report(
    kept: int, found: SlideSample | None = None, *, trial: str = "plan-only", tiles_s: float = 0.0
) -> SlideReport:
    return SlideReport(
        slide="s", path="s.svs", status="done", planned=kept, rejected={trial: kept}, sample=found,
        seconds={"open": 1.0, "tiles": tiles_s},
    )  # fmt: skip


def estimate(*reports: SlideReport, trial: str = "plan-only", at_once: int = 1, **tiles: int) -> Estimate:
    pipeline = pipeline_from_table({**TABLE, "tiles": {**TABLE["tiles"], **tiles}}, where="test")
    found = estimate_of(pipeline, reports, trial=trial, at_once=at_once, wall_s=1.0)
    assert found is not None
    return found


def test_a_sample_stands_for_the_tiles_in_proportion() -> None:
    half_kept = sample((8, 4, 4000), (8, 4, 4000), left=160, seconds=0.5, besides=700)

    found = estimate(report(160, half_kept))

    assert found.tiles.likely == 80
    assert found.bytes.likely == 80 * 1000 + 700
    assert found.seconds.likely == 1.0 + 160 * 0.5
    assert (found.sampled_tiles, found.sampled_slides, found.slides) == (16, 1, 1)


def test_clusters_that_are_alike_leave_no_doubt_and_others_do() -> None:
    alike = estimate(report(160, sample((8, 4, 4000), (8, 4, 4000), left=160)))
    apart = estimate(report(160, sample((8, 8, 8000), (8, 0, 0), (8, 8, 8000), (8, 0, 0), left=160)))

    assert alike.tiles.low == alike.tiles.high == 80
    assert apart.tiles.likely == 80
    assert apart.tiles.low < 40
    assert apart.tiles.high > 120


def test_a_sample_of_all_tiles_leaves_no_doubt() -> None:
    found = estimate(report(16, sample((8, 8, 8000), (8, 0, 0), left=16)))

    assert found.tiles.low == found.tiles.likely == found.tiles.high == 8


def test_a_dry_run_has_counted_the_tiles_and_timed_all_but_their_storing() -> None:
    few = sample((8, 2, 2000), left=160, seconds=9.0, storing=0.25)

    found = estimate(report(100, few, trial="dry-run", tiles_s=30.0), trial="dry-run")

    assert found.tiles.low == found.tiles.likely == found.tiles.high == 100
    assert found.bytes.likely == 100 * 1000
    assert found.seconds.likely == 1.0 + 30.0 + 100 * 0.25


def test_a_slide_without_a_sample_is_like_the_others_by_their_tiles() -> None:
    large = sample((8, 8, 8000), left=300)
    small = sample((8, 0, 0), left=100)

    found = estimate(report(300, large), report(100, small), report(400))

    assert found.tiles.likely == 300 + 0 + 400 * 300 / 400
    assert found.slides == 3
    assert found.tiles.low < found.tiles.likely < found.tiles.high  # two slides that differ say little on a third


def test_no_more_tiles_are_expected_than_the_limit() -> None:
    found = estimate(report(160, sample((8, 4, 4000), left=160, seconds=0.5)), max_tiles=20)

    assert found.tiles.likely == 20
    assert found.bytes.likely == 20 * 1000
    assert found.seconds.likely == 1.0 + 40 * 0.5  # of which half is kept


def test_slides_at_the_same_time_share_the_time_but_not_that_of_the_longest() -> None:
    each = sample((8, 8, 8), left=100, seconds=1.0)

    assert estimate(*[report(100, each)] * 4, at_once=2).seconds.likely == pytest.approx(4 * 101 / 2)
    assert estimate(report(300, each), report(10, each), at_once=2).seconds.likely == 301.0


def test_there_is_no_estimate_without_a_sample() -> None:
    pipeline = pipeline_from_table(TABLE, where="test")

    assert estimate_of(pipeline, [report(160)], trial="plan-only", at_once=1, wall_s=1.0) is None
    assert estimate_of(pipeline, [], trial="plan-only", at_once=1, wall_s=1.0) is None


@pytest.mark.parametrize("slides", [1, 5, 16, 17, 20_000])
def test_the_sample_is_bounded_spread_over_the_slides_and_the_same_for_a_seed(slides: int) -> None:
    paths = [Path(f"{number}.svs") for number in range(slides)]

    sizes = sample_sizes(paths, seed=0)

    assert len(sizes) == min(slides, 16)
    assert sum(sizes.values()) <= 1024
    assert max(np.diff([-1, *sorted(sizes), slides])) <= 2 * -(-slides // 16)
    assert sample_sizes(paths, seed=0) == sizes
    assert slides < 1000 or sample_sizes(paths, seed=1) != sizes
