"""The campaigns of `nox -s stress`, a few cases of each: they run, they count, and they see what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from stress import crew
from stress.__main__ import main
from stress.campaigns import CAMPAIGNS
from stress.mutations import damaged, damaged_text
from stress.reading import READERS
from stress.verdicts import Campaign, Kind, Verdict

# Cases of each campaign; a seed whose cases are all well today, so that tomorrow's fault shows.
FEW = {"slides": 16, "texts": 60, "kills": 2, "shards": 2, **{f"reader-{name}": 12 for name in READERS}}


@pytest.mark.slow
@pytest.mark.parametrize("name", FEW)
def test_a_few_cases_of_a_campaign_show_no_fault(name: str) -> None:
    tally = crew.run(CAMPAIGNS[name], seed=4, most=FEW[name])

    assert tally.faults == []
    assert tally.counts.total() in (0, FEW[name])  # 0 without a compiler for the library of faults, and on Windows


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", ["filter/raises/1", "encode/one short/1", "qc/exits/1", "normalizer/is killed/2", "commit/crashes/2"]
)
def test_a_plugin_that_misbehaves_is_refused_by_name(case: str) -> None:
    tally = crew.run_one(CAMPAIGNS["misdeeds"], case)

    assert tally.faults == []
    assert tally.counts == {Kind.REFUSED: 1}


@pytest.mark.slow
@pytest.mark.parametrize("case", ["ENOSPC/once/out/0.50000", "EACCES/once/out/0.02000"])
def test_a_disk_that_fails_once_is_told_and_the_next_run_is_whole(case: str) -> None:
    tally = crew.run_one(CAMPAIGNS["disks"], case)

    assert tally.faults == []


def test_the_same_name_gives_the_same_damage() -> None:
    text = "slide,x,y\na,1.5,2\nb,3,4\n"
    content = bytes(range(256)) * 8

    assert damaged_text(text, "1") == damaged_text(text, "1")
    assert damaged(content, "1") == damaged(content, "1")
    assert len({damaged_text(text, str(number)) for number in range(50)}) > 30
    assert len({damaged(content, str(number)) for number in range(50)}) == 50


def test_a_case_that_ends_its_process_is_a_fault_and_the_next_is_judged() -> None:
    tally = crew.run(_SELF, seed=0, most=None)

    assert [case for case, _ in tally.faults] == ["dies", "raises"]
    assert tally.counts == {Kind.RIGHT: 2, Kind.OTHER: 2}


def test_a_fault_is_printed_and_makes_the_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(CAMPAIGNS, "texts", _SELF)

    assert main(["texts", "--out", str(tmp_path / "counts.json")]) == 1
    assert main(["texts", "--case", "fine"]) == 0

    told = capsys.readouterr().out
    assert "4 cases" in told
    assert "2 right, 0 refused with our error, 2 other exception, 0 wrong" in told
    assert "such as --case 'dies'" in told
    assert '"other exception": 2' in (tmp_path / "counts.json").read_text()


def _judge(_folder: Path, case: str) -> Verdict:
    import os

    if case == "dies":
        os._exit(3)
    if case == "raises":
        raise ValueError("of the harness")
    return Verdict(Kind.RIGHT)


_SELF = Campaign(
    name="self",
    help="the harness itself",
    prepare=lambda _folder: None,
    cases=lambda _folder, _seed: ["fine", "dies", "raises", "fine too"],
    judge=_judge,
)
