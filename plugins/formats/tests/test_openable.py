"""Why a reader does not open a file: it is not there, cannot be read, or is of another kind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from slideloom import SlideError
from slideloom_formats.openable import check_kind, check_there


def test_a_file_of_another_kind_is_left_to_other_readers(tmp_path: Path) -> None:
    (tmp_path / "a.czi").write_bytes(b"no CZI")

    check_kind(tmp_path / "a.czi", "CZI", Path.is_file)
    with pytest.raises(SlideError, match=r"^a\.czi: is no CZI file, or is damaged; let another reader open it$"):
        check_kind(tmp_path / "a.czi", "CZI", Path.is_dir)


def test_a_folder_is_no_file_unless_a_reader_opens_folders(tmp_path: Path) -> None:
    check_there(tmp_path, may_be_folder=True)
    for place in (tmp_path, tmp_path / "gone.czi"):
        with pytest.raises(SlideError, match=rf"{place.name}: no such file; check the path$"):
            check_kind(place, "CZI", Path.exists)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that is there and that nobody can read")
def test_a_file_that_cannot_be_read_is_not_called_damaged() -> None:
    with pytest.raises(SlideError, match=r"^mem: cannot be read \(Input/output error\); check its disk$"):
        check_kind(Path("/proc/self/mem"), "CZI", lambda path: False)
