"""Names that stay in their folder, and errors that say what to do."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from slideloom import OutputError, discard_path, path_inside, storing_in
from slideloom_testing.disks import full_disk


@pytest.mark.parametrize("name", ["a", "a.b c", ".hidden", "..a", "-rf", "切片", "a.partial"])
def test_an_ordinary_name_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    assert path_inside(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "/a", "a/b", "a\\b", "a\0", ".a.partial", ".a.old"])
def test_a_name_that_leads_elsewhere_or_looks_temporary_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="rename the slide"):
        path_inside(tmp_path, name)
    with pytest.raises(OutputError, match="rename the slide"):
        path_inside(tmp_path, "tiles", name, "a.png")


def test_names_lead_deeper_one_after_the_other(tmp_path: Path) -> None:
    assert path_inside(tmp_path, "tiles", "a", "b.png") == tmp_path / "tiles" / "a" / "b.png"


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EROFS, "change its permissions"),
        (errno.EACCES, "change its permissions"),
        (errno.ENAMETOOLONG, "shorter name"),
        (errno.EIO, "check the disk"),
    ],
)
def test_a_system_error_becomes_ours_with_folder_and_remedy(tmp_path: Path, code: int, remedy: str) -> None:
    with pytest.raises(OutputError, match=remedy) as caught, storing_in(tmp_path):
        raise OSError(code, "the system's words")

    assert str(tmp_path) in str(caught.value)
    assert "the system's words" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)


def test_a_name_that_is_too_long_for_the_disk_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="shorter name"), storing_in(tmp_path):
        (tmp_path / ("x" * 300)).touch()


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with full_disk(after_bytes=10), pytest.raises(OutputError, match="no room left"), storing_in(tmp_path):
        (tmp_path / "a").write_bytes(bytes(100))


def test_discarding_takes_files_folders_links_and_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(kept)

    for name in ("file", "folder", "link", "missing"):
        discard_path(tmp_path / name)

    assert list(tmp_path.iterdir()) == [kept]
