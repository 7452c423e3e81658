"""The report of a run: written slide by slide, and the same as if written at once."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
from slideloom.running.run_files import write_run_report
from slideloom.steps.reports import OutputSize, RunReport, SlideReport

RUN = RunReport(
    slides=(), out="out", pipeline={"slides": [], "tiles": {"size_px": 64}}, digest="d", versions={"slideloom": "1"},
    started="2026-01-02T03:04:05+00:00", seconds=1.5, problems=('a "problem"\n  "slides": []',),
)  # fmt: skip
SLIDES = (
    SlideReport("a", "a.svs", "done", planned=3, written=2, rejected={"roi": 1}, sizes={"a.tfrecords": OutputSize(7)}),
    SlideReport("b\udcfc", "b.svs", "failed", error='line one\n  "slides": []\nline two: µ'),
)


@pytest.mark.parametrize("slides", [(), SLIDES[:1], SLIDES])
def test_a_run_s_report_has_the_bytes_of_its_table(tmp_path: Path, slides: tuple[SlideReport, ...]) -> None:
    run = attrs.evolve(RUN, slides=slides)
    path = tmp_path / "extraction_report.json"
    for _ in range(2):  # the second time it takes the place of the first
        write_run_report(path, run)

    text = json.dumps(run.as_table(), indent=2, ensure_ascii=False) + "\n"
    assert path.read_bytes() == text.encode("utf-8", "backslashreplace")
    assert [item.name for item in tmp_path.iterdir()] == ["extraction_report.json"]


def test_a_file_of_another_program_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "extraction_report.json"
    path.write_text('{"of": "another program"}')

    write_run_report(path, RUN)

    assert json.loads(path.read_text())["out"] == "out"
    (aside,) = tmp_path.glob("extraction_report.json.foreign-*")
    assert aside.read_text() == '{"of": "another program"}'
