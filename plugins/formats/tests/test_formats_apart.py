"""What is said of files that no installed reader takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from slideloom import SlideError, open_slide
from slideloom.plugins.discovery import registry
from slideloom_formats.formats_apart import unread_format
from slideloom_testing.dicom import write_dicom


def test_the_reader_of_a_known_format_is_named_with_its_command_unless_it_is_installed(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", np.zeros((64, 64, 3), np.uint8))

    formats = registry().formats
    told = "a reader for it may be this one, for DICOM: pip install slideloom-dicom"
    assert formats.to_install(path, {"slideloom-core"}) == told
    assert formats.to_install(path, {"slideloom-core", "slideloom-dicom"}) is None


@pytest.mark.parametrize("name", ["a.isyntax", "renamed.tif"])
def test_isyntax_is_refused_as_what_it_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text('<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">')

    with pytest.raises(
        SlideError, match=rf"{name}: it is a Philips iSyntax file: convert it .* isyntax-to-tiff {name}"
    ):
        open_slide(path)


def test_of_other_files_nothing_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("no slide")

    assert unread_format(path) is None
    assert registry().formats.to_install(path, set()) is None
