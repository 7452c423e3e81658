"""What installed formats tell the core of files, and that it goes without them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from slideloom import Format, PluginError, find_slides
from slideloom.planning.slide_files import fingerprint
from slideloom.plugins.discovery import registry
from slideloom.plugins.formats import Formats


class Leaf(Format):
    """A list of files, of which each is a slide where it lies alone."""

    name: ClassVar[str] = "Leaf"
    extensions: ClassVar[tuple[str, ...]] = (".leaf",)
    reader: ClassVar[str] = "slideloom-leaf"
    parts_look_like_slides: ClassVar[bool] = True

    def recognises(self, path: Path) -> bool:
        return path.suffix == ".leaf"

    def parts(self, path: Path) -> Sequence[Path]:
        return [path.with_name(name) for name in path.read_text().split()] if path.suffix == ".leaf" else []


class Series(Format):
    """Files of which the first by name stands for the slide."""

    name: ClassVar[str] = "Series"
    is_series: ClassVar[bool] = True

    def recognises(self, path: Path) -> bool:
        return path.name.startswith("series")

    def slides_of(self, path: Path, *, is_named: bool) -> Sequence[Path] | None:
        return [min(path.parent.glob("series*"))] if path.name.startswith("series") else None


class Photo(Format):
    """As likely a tile."""

    name: ClassVar[str] = "photo"
    extensions: ClassVar[tuple[str, ...]] = (".photo",)
    is_picture: ClassVar[bool] = True


class Broken(Format):
    """Fails."""

    name: ClassVar[str] = "broken"

    def refusal(self, path: Path) -> str | None:
        raise ZeroDivisionError("division by zero")


def test_without_formats_every_file_is_a_slide_and_no_folder_is(tmp_path: Path) -> None:
    path = tmp_path / "a.anything"
    path.touch()
    none = Formats([])

    assert none.slides_of(path, is_named=False) == [path]
    assert none.slides_of(tmp_path, is_named=False) is None
    assert none.has_slide_name("a.anything", pictures=False)
    assert [*none.parts(path), *none.series_of(path)] == []
    assert none.refusal(path, readers_say_more=True) is none.advice(path, []) is none.to_install(path, set()) is None


def test_names_of_slides_are_those_that_any_format_has(tmp_path: Path) -> None:
    formats = Formats([Leaf(), Photo()])
    for name in ("a.leaf", "b.LEAF", "c.photo", "d.txt"):
        (tmp_path / name).write_text("")

    found = {path.name: formats.slides_of(path, is_named=False) for path in sorted(tmp_path.iterdir())}
    slides = {name: [tmp_path / name] for name in ("a.leaf", "b.LEAF", "c.photo")}
    assert found == {**slides, "d.txt": None}
    of_slides = [name for name in found if formats.has_slide_name(name, pictures=False)]
    assert of_slides == ["a.leaf", "b.LEAF"]


def test_any_file_of_a_series_stands_for_its_slide_and_is_told_by_its_format(tmp_path: Path) -> None:
    for name in ("series-2", "series-1", "other"):
        (tmp_path / name).touch()
    formats = Formats([Leaf(), Series()])

    assert formats.series_of(tmp_path / "series-2") == [tmp_path / "series-1"]
    assert formats.series_of(tmp_path / "other") == []
    assert isinstance(formats.series(tmp_path / "series-2"), Series)
    assert formats.series(tmp_path / "other") is None


def test_parts_are_those_of_the_first_format_that_knows_some(tmp_path: Path) -> None:
    path = tmp_path / "a.leaf"
    path.write_text("a.photo b.photo")

    parts = [tmp_path / "a.photo", tmp_path / "b.photo"]
    assert Formats([Photo(), Leaf()]).parts(path) == Formats([Leaf()]).parts_like_slides(path) == parts
    assert Formats([Photo()]).parts_like_slides(path) == ()


def test_a_reader_is_to_be_installed_if_it_is_not(tmp_path: Path) -> None:
    formats = Formats([Leaf()])

    told = "a reader for it may be this one, for Leaf: pip install slideloom-leaf"
    assert formats.to_install(tmp_path / "a.leaf", {"slideloom-core"}) == told
    assert formats.to_install(tmp_path / "a.leaf", {"slideloom-core", "slideloom-leaf"}) is None
    assert formats.to_install(tmp_path / "a.other", {"slideloom-core"}) is None


def test_a_format_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"format 'broken' of .*test_formats failed on a\.svs: .*division by zero"):
        Formats([Leaf(), Broken()]).refusal(tmp_path / "a.svs", readers_say_more=False)


class Given(Format):
    """Answers whatever it was given."""

    name: ClassVar[str] = "given"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def slides_of(self, path: Path, *, is_named: bool) -> Any:
        return self.answer

    def parts(self, path: Path) -> Any:
        return self.answer

    def refusal(self, path: Path) -> Any:
        return self.answer

    def advice(self, path: Path, readers: Collection[str]) -> Any:
        return self.answer


@pytest.mark.parametrize("answer", ["a.svs", Path("a.svs"), ["a.svs"], True, 5])
def test_a_format_whose_answer_is_no_list_of_paths_is_named(tmp_path: Path, answer: Any) -> None:
    formats = Formats([Given(answer)])

    said = r"format 'given' of .*test_formats failed on a\.svs: .*and a list of Path is wanted"
    with pytest.raises(PluginError, match=said):
        formats.slides_of(tmp_path / "a.svs", is_named=True)
    with pytest.raises(PluginError, match=said):
        formats.parts(tmp_path / "a.svs")


@pytest.mark.parametrize("answer", [5, ["no"], True])
def test_a_format_whose_reason_is_no_text_is_named(tmp_path: Path, answer: Any) -> None:
    formats = Formats([Given(answer)])

    with pytest.raises(PluginError, match="and a text is wanted"):
        formats.refusal(tmp_path / "a.svs", readers_say_more=False)
    with pytest.raises(PluginError, match="and a text is wanted"):
        formats.advice(tmp_path / "a.svs", [])


class Ending(Format):
    """Ends the process."""

    name: ClassVar[str] = "ending"

    def slides_of(self, path: Path, *, is_named: bool) -> Sequence[Path] | None:
        raise SystemExit(0)


def test_no_format_may_end_the_process(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"format 'ending' of .* failed on a: SystemExit"):
        Formats([Ending()]).slides_of(tmp_path / "a", is_named=True)


def test_what_the_system_says_of_a_file_is_raised_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Formats([Leaf()]).parts(tmp_path / "gone.leaf")


LEAF_PLUGIN = """
from slideloom import Format, hookimpl

class Leaf(Format):
    name = "Leaf"
    extensions = (".leaf",)
    parts_look_like_slides = True

    def parts(self, path):
        return [path.with_name(name) for name in path.read_text().split()] if path.suffix == ".leaf" else []

@hookimpl
def slideloom_slide_formats():
    return [OFFERED]
"""


def test_a_plugin_brings_a_format_whose_files_are_found_and_looked_at_for_changes(
    tmp_path: Path, install_plugin: Callable[..., None]
) -> None:
    install_plugin("leaf_plugin", LEAF_PLUGIN.replace("OFFERED", "Leaf()"))
    folder = tmp_path / "slides"
    (folder / "below").mkdir(parents=True)
    (folder / "a.leaf").write_text("a.part")
    for name in ("a.part", "b.part", "notes.txt", "below/c.leaf"):
        (folder / name).touch()
    before = fingerprint(folder / "a.leaf")

    assert find_slides([str(folder)]) == [folder / "a.leaf"]
    assert find_slides([str(folder)], recursive=True) == [folder / "a.leaf", folder / "below" / "c.leaf"]
    assert find_slides([str(folder / "*.part"), str(folder / "a.leaf")]) == [folder / "b.part", folder / "a.leaf"]
    (folder / "a.part").write_text("changed")
    assert fingerprint(folder / "a.leaf") != before


def test_what_is_no_format_blocks_its_plugin(install_plugin: Callable[..., None]) -> None:
    install_plugin("leaf_plugin", LEAF_PLUGIN.replace("OFFERED", "Leaf"))

    (plugin,) = [plugin for plugin in registry().plugins if plugin.dist == "leaf_plugin"]
    assert "which is not a slideloom.Format" in plugin.error


@pytest.mark.parametrize("endings", ['".leaf"', '[".leaf"]', '(".LEAF",)', '("leaf",)', '("",)', "None"])
def test_endings_by_which_no_file_would_be_found_block_their_plugin(
    install_plugin: Callable[..., None], endings: str
) -> None:
    plugin_text = LEAF_PLUGIN.replace("OFFERED", "Leaf()").replace('(".leaf",)', endings)
    install_plugin("leaf_plugin", plugin_text)

    (plugin,) = [plugin for plugin in registry().plugins if plugin.dist == "leaf_plugin"]
    assert "format 'Leaf': extensions is" in plugin.error
    assert 'such as (".svs",)' in plugin.error
