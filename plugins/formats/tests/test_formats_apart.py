"""What is said of files that no installed reader takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from slideloom.plugins.discovery import registry
from slideloom_testing.dicom import write_dicom


def test_the_reader_of_a_known_format_is_named_with_its_command_unless_it_is_installed(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", np.zeros((64, 64, 3), np.uint8))

    formats = registry().formats
    told = "a reader for it may be this one, for DICOM: pip install slideloom-dicom"
    assert formats.to_install(path, {"slideloom-core"}) == told
    assert formats.to_install(path, {"slideloom-core", "slideloom-dicom"}) is None


@pytest.mark.parametrize("name", ["a.isyntax", "renamed.tif"])
def test_the_reader_of_isyntax_is_named_for_a_file_that_begins_as_one(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text('<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">')

    told = "a reader for it may be this one, for iSyntax: pip install slideloom-isyntax"
    assert registry().formats.to_install(path, {"slideloom-core"}) == told


def test_of_other_files_nothing_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("no slide")

    assert registry().formats.to_install(path, set()) is None
