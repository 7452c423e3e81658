"""A finished slide is known again by what was noted when it was open, without copying or opening it, or is opened."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slideloom.base.geometry import Point, Size
from slideloom.base.parsing import parse_json
from slideloom.extraction.job import SlideTask, known_finished, process_slide
from slideloom.extraction.output_folder import OutputFolder
from slideloom.extraction.unopened import note_opened
from slideloom.pipeline.file import pipeline_from_table
from slideloom.pipeline.pipeline import Pipeline, Slides
from slideloom.running.buffering import buffered
from slideloom.running.run import run_pipeline
from slideloom.slides.closed_slide import AskedProperties, ClosedSlide, KnownProperties, NotOpened
from slideloom.slides.info import SlideInfo, levels_from_sizes
from slideloom.slides.names import NamedSlide

WriteSlide = Callable[..., Path]

STEPS = """
from pathlib import Path
from typing import ClassVar
import attrs, numpy as np, shapely
from slideloom import Placement, Region, Regions, RoiSource, Settings, Size, Tiles, hookimpl, option

@attrs.frozen
class Asking(Settings[RoiSource]):
    "One region, whose name a file tells; which properties it asks for, another."
    name: ClassVar[str] = "asking"
    folder: str = option(help="of both files", affects_output=False)
    def build(self):
        return AskingSource(Path(self.folder))

class AskingSource(RoiSource):
    def __init__(self, folder):
        self.folder = folder
    def regions(self, info):
        for name in (self.folder / "asked").read_text().split():
            list(info.properties) if name == "all" else info.properties.get(name)
        return Regions((Region((self.folder / "name").read_text(), shapely.box(0, 0, 1000, 1000)),))

@attrs.frozen
class Looking(Settings[Placement]):
    "A tile where the slide has a pixel, or does not say so."
    name: ClassVar[str] = "looking"
    def build(self):
        return LookingPlacement()

class LookingPlacement(Placement):
    def place(self, slide, scene):
        slide.thumbnail(max_px=16)
        return Tiles([0], [0], [0], [0], [0], [-1], footprint=Size(150, 150))

@attrs.frozen
class Saying(Looking):
    "The same, and says so."
    name: ClassVar[str] = "saying"
    reads_slide: ClassVar[bool] = True

@hookimpl
def slideloom_roi_sources():
    return [Asking]

@hookimpl
def slideloom_placements():
    return [Looking, Saying]
"""


@pytest.fixture(autouse=True)
def steps(raw: Callable[..., None]) -> None:
    raw("steps_plugin", STEPS)


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A folder of the two files of the ROI source."""
    folder = tmp_path / "told"
    folder.mkdir()
    (folder / "name").write_text("first")
    (folder / "asked").write_text("colour")
    return folder


def pipeline(home: Path, **tables: object) -> Pipeline:
    table = {
        "slideloom": 1,
        "tiles": {"size_px": 60, "size_um": 75},
        "filter": [],
        "sink": [{"use": "raw"}],
        "run": {"buffer": str(home / "buffer"), "jobs": 1},
        **tables,
    }
    return pipeline_from_table(table, where="test")


def asking(folder: Path) -> dict[str, object]:
    return {"roi": [{"use": "asking", "folder": str(folder)}]}


def status(pipeline: Pipeline, slide: Path, out: Path) -> str:
    return run_pipeline(pipeline, [slide], out).slides[0].status


def is_copied(pipeline: Pipeline, slide: Path, out: Path) -> bool:
    """True if a run would copy a slide to the buffer."""
    tasks = [SlideTask(pipeline=pipeline, path=slide, out=out)]
    with buffered(tasks, pipeline.run) as (items, _):
        (task,) = items
        return task.read_path is not None


def note(out: Path) -> Any:
    return parse_json(OutputFolder(out, "60px_75um").opened("a").read_text(encoding="utf-8"))


def test_a_finished_slide_is_not_copied_to_the_buffer_again(analytic: WriteSlide, tmp_path: Path) -> None:
    slide, out, chosen = analytic(), tmp_path / "out", pipeline(tmp_path)
    assert is_copied(chosen, slide, out)
    assert status(chosen, slide, out) == "done"

    assert not is_copied(chosen, slide, out)
    assert status(chosen, slide, out) == "skipped"


def replaced(slide: Path, out: Path) -> None:
    """By one of the same size and time."""
    state = slide.stat()
    slide.write_bytes(slide.read_bytes().replace(b"0.5", b"0.4"))
    os.utime(slide, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert slide.stat().st_size == state.st_size


def touched(slide: Path, out: Path) -> None:
    os.utime(slide, ns=(1, 1))


def without_output(slide: Path, out: Path) -> None:
    (out / "raw" / "a.raw").unlink()


def with_a_shorter_output(slide: Path, out: Path) -> None:
    path = out / "raw" / "a.raw"
    path.write_bytes(path.read_bytes()[:-1])


def without_table(slide: Path, out: Path) -> None:
    OutputFolder(out, "60px_75um").tile_table("a").unlink()


def stopped(slide: Path, out: Path) -> None:
    path = OutputFolder(out, "60px_75um").publishing("a")
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"outputs": {}}')


@pytest.mark.parametrize(
    "change", [replaced, touched, without_output, with_a_shorter_output, without_table, stopped],
)  # fmt: skip
def test_a_slide_that_is_not_finished_any_more_is_copied_and_made_again(
    analytic: WriteSlide, tmp_path: Path, change: Callable[[Path, Path], None]
) -> None:
    slide, out, chosen = analytic(), tmp_path / "out", pipeline(tmp_path)
    status(chosen, slide, out)

    change(slide, out)

    assert is_copied(chosen, slide, out)
    assert status(chosen, slide, out) == "done"
    assert not is_copied(chosen, slide, out)


@pytest.mark.parametrize("option", ["redo", "overview"])
def test_what_a_run_asks_for_besides_needs_the_slide(analytic: WriteSlide, tmp_path: Path, option: str) -> None:
    slide, out = analytic(), tmp_path / "out"
    status(pipeline(tmp_path), slide, out)
    chosen = pipeline(tmp_path, run={"buffer": str(tmp_path / "buffer"), "jobs": 1, option: True})

    assert is_copied(chosen, slide, out)
    assert status(chosen, slide, out) == ("done" if option == "redo" else "skipped")


def test_another_plugin_might_open_it_otherwise_so_it_is_opened_once(
    analytic: WriteSlide, tmp_path: Path, install_plugin: Callable[..., None]
) -> None:
    slide, out, chosen = analytic(), tmp_path / "out", pipeline(tmp_path)
    status(chosen, slide, out)
    before = note(out)

    install_plugin("other_plugin", "")

    assert is_copied(chosen, slide, out)
    assert status(chosen, slide, out) == "skipped"
    assert note(out) == {**before, "opened_by": note(out)["opened_by"]}
    assert note(out) != before
    assert not is_copied(chosen, slide, out)


def test_regions_are_read_anew_each_time(analytic: WriteSlide, tmp_path: Path, told: Path) -> None:
    slide, out, chosen = analytic(), tmp_path / "out", pipeline(tmp_path, **asking(told))
    assert status(chosen, slide, out) == "done"
    assert not is_copied(chosen, slide, out)

    (told / "name").write_text("other")

    assert is_copied(chosen, slide, out)
    assert status(chosen, slide, out) == "done"


def test_only_properties_that_were_asked_for_are_noted_and_others_need_the_slide(
    analytic: WriteSlide, tmp_path: Path, told: Path
) -> None:
    slide, out, chosen = analytic(), tmp_path / "out", pipeline(tmp_path, **asking(told))
    status(chosen, slide, out)
    assert note(out)["properties"] == {"colour": None}
    assert not is_copied(chosen, slide, out)

    (told / "asked").write_text("colour weight")

    assert is_copied(chosen, slide, out)
    assert status(chosen, slide, out) == "skipped"
    assert note(out)["properties"] == {"colour": None, "weight": None}
    assert not is_copied(chosen, slide, out)


def test_a_slide_whose_properties_were_all_asked_for_is_opened_each_time(
    analytic: WriteSlide, tmp_path: Path, told: Path
) -> None:
    (told / "asked").write_text("all")
    slide, out, chosen = analytic(), tmp_path / "out", pipeline(tmp_path, **asking(told))
    status(chosen, slide, out)

    assert is_copied(chosen, slide, out)
    assert status(chosen, slide, out) == "skipped"


@pytest.mark.parametrize("placement", ["looking", "saying"])
def test_places_that_are_found_in_pixels_need_the_slide(analytic: WriteSlide, tmp_path: Path, placement: str) -> None:
    slide, out, chosen = analytic(), tmp_path / "out", pipeline(tmp_path, placement={"use": placement})
    assert status(chosen, slide, out) == "done"

    assert is_copied(chosen, slide, out)
    assert status(chosen, slide, out) == "skipped"


def test_a_local_slide_without_a_buffer_is_opened_and_nothing_is_noted(analytic: WriteSlide, tmp_path: Path) -> None:
    slide, out, chosen = analytic(), tmp_path / "out", pipeline(tmp_path, run={"jobs": 1})
    status(chosen, slide, out)

    assert not OutputFolder(out, "60px_75um").opened("a").exists()
    assert known_finished(SlideTask(pipeline=chosen, path=slide, out=out)) is None
    assert status(chosen, slide, out) == "skipped"


def test_a_closed_slide_tells_what_is_known_and_refuses_the_rest() -> None:
    asked = AskedProperties({"a": "1", "b": "2"})
    assert (asked["a"], asked.get("c"), asked.asked()) == ("1", None, {"a": "1", "c": None})
    assert dict(asked) == {"a": "1", "b": "2"}
    assert asked.asked() is None

    known = KnownProperties({"a": "1", "c": None})
    assert (known["a"], known.get("c"), "c" in known) == ("1", None, False)
    for ask in (lambda: known["b"], lambda: known.get("b"), lambda: list(known), lambda: len(known)):
        with pytest.raises(NotOpened, match="its properties are not known"):
            ask()

    info = SlideInfo(Path("a.svs"), "a", "analytic", levels_from_sizes([Size(100, 100)]), properties=known)
    slide = ClosedSlide(info, [["", 1, "first", ""]])
    with pytest.raises(NotOpened, match="its pixels are not known"):
        slide.read(Point(0, 0), 0, Size(1, 1))
    with pytest.raises(NotOpened, match="its pixels are not known"):
        slide.thumbnail()
    with pytest.raises(NotOpened, match="its colours are not known"):
        slide.icc_profile()


def test_what_cannot_be_noted_does_not_fail_the_slide(tmp_path: Path) -> None:
    """A reader may have put anything into the info, and the slide is finished all the same."""
    path = tmp_path / "a.svs"
    path.write_bytes(b"1")
    odd: Any = np.int64(100)  # which JSON does not take
    info = SlideInfo(path, "a", "analytic", levels_from_sizes([Size(odd, odd)]))
    folder = OutputFolder(tmp_path / "out", "60px_75um")

    said = note_opened(folder, ClosedSlide(info, []), NamedSlide(path, "a"), properties={}, rules=Slides())

    assert said == ""
    assert not folder.opened("a").exists()


def test_a_slide_replaced_after_it_was_copied_is_made_again_by_the_next_run(
    analytic: WriteSlide, tmp_path: Path
) -> None:
    """Its tiles are those of the copy, so the report must not say that they are those of the new file."""
    slide, out, chosen = analytic(), tmp_path / "out", pipeline(tmp_path)
    tasks = [SlideTask(pipeline=chosen, path=slide, out=out)]
    with buffered(tasks, chosen.run) as (items, _):
        (task,) = items
        assert task.read_path is not None
        replaced(slide, out)
        assert process_slide(task).status == "done"

    assert status(chosen, slide, out) == "done"
    assert status(chosen, slide, out) == "skipped"


def test_a_slide_that_changes_while_it_is_copied_is_read_from_where_it_is(
    analytic: WriteSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy may hold some of both."""
    slide, out, chosen, copy = analytic(), tmp_path / "out", pipeline(tmp_path), shutil.copyfile

    def copied_while_it_changes(source: Path, goal: Path) -> None:
        copy(source, goal)
        replaced(slide, out)

    monkeypatch.setattr(shutil, "copyfile", copied_while_it_changes)

    assert not is_copied(chosen, slide, out)
    assert list((tmp_path / "buffer").iterdir()) == []
