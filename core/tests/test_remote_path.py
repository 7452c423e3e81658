"""Files and folders at addresses, as formats look at them: without a network."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path, PurePosixPath

import pytest
from attrs import evolve
from slideloom import Address, LostSlide, RemoteEntry, RemoteFolder, RemotePath, RemoteState, RemoteTree, SlideError
from slideloom.base.errors import OutputError, Unlisted
from slideloom.planning.remote_copies import RemoteParts, copy_folder
from slideloom.plugins.hookspecs import RemoteFiles
from slideloom.slides.remote_tree import in_parallel
from slideloom_testing.remote import BytesAt, path_at

FILES = {"a.mrxs": b"picture", "a/Slidedat.ini": b"text\nmore", "a/deep/er.dat": bytes(range(256)) * 1024, "b.dcm": b""}


@pytest.fixture
def home() -> RemotePath:
    return path_at(Address("s3://bucket/slides"), FILES)


def test_its_names_are_those_of_a_path(home: RemotePath) -> None:
    file, same = home / "a.mrxs", Path("/bucket/slides/a.mrxs")

    assert (file.name, file.stem, file.suffix) == (same.name, same.stem, same.suffix)
    assert file.with_suffix("") == home / "a"
    assert file.with_name("b.dcm") == home / "b.dcm" == file.parent / "b.dcm"
    assert (home / "a" / "deep").relative_to(home) == PurePosixPath("a/deep")
    with pytest.raises(ValueError, match="is not below"):
        home.relative_to(file)


def test_files_and_folders_are_told_apart_and_both_from_what_is_not_there(home: RemotePath) -> None:
    def kind(path: RemotePath) -> tuple[bool, bool, bool]:
        return path.exists(), path.is_file(), path.is_dir()

    assert sorted(path.name for path in home.iterdir()) == ["a", "a.mrxs", "b.dcm"]
    assert kind(home / "a") == (True, False, True)
    assert kind(home / "a.mrxs") == kind(home / "b.dcm") == (True, True, False)
    assert kind(home / "gone") == (False, False, False)
    assert list((home / "a").rglob("*.dat")) == [home / "a" / "deep" / "er.dat"]


def test_walking_visits_each_folder_that_is_left_in(home: RemotePath) -> None:
    visited = {folder.name: (sorted(folders), sorted(files)) for folder, folders, files in home.walk()}
    assert visited == {
        "slides": (["a"], ["a.mrxs", "b.dcm"]),
        "a": (["deep"], ["Slidedat.ini"]),
        "deep": ([], ["er.dat"]),
    }

    for _, folders, _ in home.walk():
        assert folders == ["a"]
        folders.clear()


def test_content_is_read_in_parts_and_as_text(home: RemotePath) -> None:
    assert (home / "a" / "Slidedat.ini").read_text().splitlines() == ["text", "more"]
    with (home / "a" / "deep" / "er.dat").open("rb", 4096) as file:
        file.seek(70_000)
        assert file.read(4) == bytes([70_000 % 256, *((70_000 + n) % 256 for n in (1, 2, 3))])
        file.seek(-2, 2)
        assert file.read() == bytes([254, 255])
    with pytest.raises(FileNotFoundError):
        (home / "gone").open()


@pytest.mark.parametrize("name", ["a%20(1).dcm", "a%20%281%29.dcm", "a (1).dcm"])
def test_a_web_address_is_the_same_however_it_is_quoted(name: str) -> None:
    def listed(_address: Address, _below: bool) -> list[RemoteEntry]:
        return [RemoteEntry("a (1).dcm", is_folder=False, size=1)]

    tree = RemoteTree(listed, failing)
    given = RemotePath(Address(f"https://host/x/{name}?key=1"), tree)

    (found,) = given.parent.iterdir()
    assert found == given
    assert found.address.url == f"https://host/x/{name}?key=1"


class Failing(RemoteFolder):
    """Refuses everything."""

    def __init__(self, address: Address, error: Exception) -> None:
        self.address = address
        self._error = error

    def ask(self, name: str, start: int | None = None, end: int | None = None) -> Future[bytes | None]:
        raise self._error

    def states(self, names: Sequence[str]) -> list[RemoteState | None]:
        raise self._error

    def close(self) -> None:
        """Nothing."""


def failing(address: Address) -> RemoteFolder:
    return Failing(address, OSError(5, "no answer in time"))


def unlisted(address: Address, below: bool) -> list[RemoteEntry]:
    raise Unlisted(f"{address}: nobody tells")


@pytest.mark.parametrize("error", [OSError(5, "no answer in time"), LostSlide("x: no answer in time")])
def test_what_the_network_does_not_say_is_never_taken_for_a_missing_file(error: Exception) -> None:
    tree = RemoteTree(unlisted, lambda address: Failing(address, error))
    file = RemotePath(Address("s3://bucket/x/a.dcm"), tree)

    for ask in (file.is_file, file.exists, file.state, file.open, file.read_text):
        with pytest.raises(SlideError, match=r"a\.dcm: .*no answer in time"):
            ask()


def test_an_answer_is_asked_for_once_and_an_error_again() -> None:
    asked: list[str] = []
    tree = RemoteTree(unlisted, failing)

    def ask() -> int:
        asked.append("one")
        if len(asked) == 1:
            raise OSError(5, "no answer in time")
        return 7

    with pytest.raises(OSError, match="no answer"):
        tree.once("question", ask)
    assert in_parallel(lambda _number: tree.once("question", ask), range(40)) == [7] * 40
    assert len(asked) == 2


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "a\\b", "."])
def test_no_part_is_copied_to_another_folder(tmp_path: Path, name: str) -> None:
    """Whatever a store calls its files."""
    folder = tmp_path / "copy"
    folder.mkdir()
    whole = whole_of(name, size=3)

    with pytest.raises((SlideError, OutputError)):
        copy_folder(whole, folder, remedy="none")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def whole_of(name: str, size: int) -> RemoteParts:
    address = Address("s3://bucket/a.zarr")
    files = RemoteFiles(
        "test", lambda place: BytesAt(place, b"one"), lambda _: [], failing,
        entries=lambda _address, _below: [RemoteEntry(name, is_folder=False, size=size, version="1")],
    )  # fmt: skip
    tree = RemoteTree(files.entries or unlisted, failing)
    place = PurePosixPath("a.zarr") / name
    return RemoteParts(address, files, ((place, RemotePath(address, tree) / "x"),), (size,), is_folder=True)


def test_the_room_on_the_disk_is_that_of_all_parts(tmp_path: Path) -> None:
    whole = whole_of("0", size=10**18)

    with pytest.raises(SlideError, match=r"a\.zarr: its copy needs 1000000000\.00 GB, .*; name another folder"):
        copy_folder(whole, tmp_path, remedy="name another folder")
    assert list(tmp_path.iterdir()) == []


def test_files_whose_names_a_disk_takes_for_one_are_refused(tmp_path: Path) -> None:
    whole = whole_of("0", size=3)
    twice = evolve(whole, parts=whole.parts * 2, sizes=(3, 3))

    with pytest.raises(SlideError, match="this disk takes its name for that of another file"):
        copy_folder(twice, tmp_path, remedy="none")
