"""What a cohort costs, counted in files that are opened: so many for each slide, and none of them twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.scale import as_text, simulate

SLIDES = 60


@pytest.mark.slow
def test_a_finished_cohort_opens_each_report_once_for_each_thing_that_is_asked(tmp_path: Path) -> None:
    found = simulate(tmp_path, SLIDES, ["run", "again", "shard", "open", "summary", "check"])

    reports = {stage: row["opened"]["reports"] for stage, row in found.items()}
    # A shard that ends alone also tells of the others.
    assert reports | {"run": 0} == {
        "run": 0, "again": SLIDES, "shard": 2 * SLIDES, "open": SLIDES, "summary": SLIDES, "check": SLIDES,
    }  # fmt: skip
    # Besides reports, a finished slide's journal is looked for, and a run that is no shard makes, reads and settles a
    # claim; no index and no table is opened.
    few = 30
    for stage, opens in {"again": 4, "shard": 1, "open": 1, "summary": 1, "check": 1}.items():
        assert found[stage]["opened"]["outputs"] <= opens * SLIDES + few, stage
    assert found["again"]["opened"]["slides"] <= 10 * SLIDES
    assert found["open"]["opened"]["slides"] == 0
    assert len(as_text({SLIDES: found}).splitlines()) == 2 + len(found)
