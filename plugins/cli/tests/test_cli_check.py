"""`slideloom check OUT`: what is not whole in an output folder is named, and the exit code says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from slideloom_cli.main import main

WriteSlide = Callable[..., Path]
TILES = ["--tile-px", "60", "--tile-um", "75", "--filter", "none"]


@pytest.fixture
def out(raw: Callable[..., None], analytic: WriteSlide, tmp_path: Path) -> Path:
    """Two slides of 168 tiles each, as TFRecords and images."""
    folder = tmp_path / "out"
    slides = [str(analytic("a")), str(analytic("b"))]
    assert main(["extract", *slides, *TILES, "--sink", "tfrecord", "--sink", "images", "--out", str(folder)]) == 0
    return folder


def record(out: Path) -> Path:
    return out / "tfrecords" / "60px_75um" / "a.tfrecords"


@pytest.mark.parametrize("how", [[], ["--deep"]], ids=["sizes", "deep"])
def test_a_whole_folder_is_said_to_be_whole(out: Path, capsys: pytest.CaptureFixture[str], how: list[str]) -> None:
    assert main(["check", str(out), *how]) == 0
    assert "2 slides, 336 tiles: whole" in capsys.readouterr().out


def test_a_cut_file_is_named_without_reading_it(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(out).write_bytes(record(out).read_bytes()[:1000])

    assert main(["check", str(out)]) == 1
    told, said = capsys.readouterr()
    assert "60px_75um a: tfrecords/60px_75um/a.tfrecords holds 1000 bytes instead of" in said
    assert "1 problem; run again to repair" in told


def test_a_lost_image_is_named(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    next((out / "tiles" / "60px_75um" / "b").iterdir()).unlink()

    assert main(["check", str(out)]) == 1
    assert "b: tiles/60px_75um/b holds 167 files instead of 168" in capsys.readouterr().err


def test_a_changed_byte_is_found_by_reading_all(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray(record(out).read_bytes())
    content[len(content) // 2] ^= 1
    record(out).write_bytes(content)

    assert main(["check", str(out)]) == 0
    assert main(["check", str(out), "--deep"]) == 1
    told, said = capsys.readouterr()
    assert "a.tfrecords holds other bytes than were written" in said
    assert "a.tfrecords: record" in said
    assert "2 problems; run again with --redo to repair" in told


def test_a_changed_byte_in_an_image_is_found_by_reading_all(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = next((out / "tiles" / "60px_75um" / "b").iterdir())
    content = bytearray(image.read_bytes())
    content[-1] ^= 1
    image.write_bytes(content)

    assert main(["check", str(out), "--deep"]) == 1
    assert "b: tiles/60px_75um/b holds other bytes" in capsys.readouterr().err


def test_failed_interrupted_and_damaged_slides_are_named(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = out / "slideloom" / "60px_75um"
    table = json.loads((state / "slides" / "a.json").read_text())
    (state / "slides" / "a.json").write_text(json.dumps({**table, "status": "failed", "error": "out of memory"}))
    (state / "publishing").mkdir(exist_ok=True)
    (state / "publishing" / "b.json").write_text("{}")
    (state / "slides" / "c.json").write_text("[]")

    assert main(["check", str(out)]) == 1
    said = capsys.readouterr().err
    assert "a: failed: out of memory" in said
    assert "b: a run was stopped while it gave its files their names" in said
    assert "c.json: the slide's report cannot be read" in said


def test_a_folder_without_a_run_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == 1
    assert "nothing to check" in capsys.readouterr().err
