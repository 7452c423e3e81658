"""Which files of a folder are slides: one for a DICOM series, and none for what belongs to another slide."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from slideloom import (
    SlideError,
    Slides,
    find_slides,
    named_slides,
    open_slide,
    pipeline_from_table,
    run_pipeline,
    slide_name,
)
from slideloom_testing.dicom import Instance, write_dicom
from slideloom_testing.several_files import write_mirax

FULL, HALF, LABEL = (np.full((side, side, 3), 200, np.uint8) for side in (80, 40, 20))


def write_series(folder: Path, series: str, *names: str) -> Path:
    """A slide of four instances; the second is its largest level. Returns the file that stands for it."""
    folder.mkdir(parents=True, exist_ok=True)
    images = ((HALF, "VOLUME"), (FULL, "VOLUME"), (LABEL, "LABEL"), (LABEL, "OVERVIEW"))
    for number, (name, (pixels, kind)) in enumerate(zip(names, images, strict=True)):
        write_dicom(folder / name, pixels, Instance(series=series, number=number, kind=kind))
    return folder / names[1]


NAMES = [
    ("0.dcm", "1.dcm", "2.dcm", "3.dcm"),
    ("half", "full", "label", "overview"),
    ("1.2.826.1", "1.2.826.2", "1.2.826.3", "1.2.826.4"),
]


@pytest.mark.parametrize("names", NAMES, ids=["extension", "no extension", "UIDs"])
@pytest.mark.parametrize("place", [".", "study/series"])
def test_a_dicom_series_is_one_slide_that_its_largest_level_stands_for(
    tmp_path: Path, names: tuple[str, ...], place: str
) -> None:
    slide = write_series(tmp_path / place, "1.2.3", *names)

    assert find_slides([str(tmp_path)]) == [slide]
    for name in names:
        assert find_slides([str(tmp_path / place / name)]) == [slide]
    assert find_slides([str(tmp_path / place / "*")]) == [slide]


def test_series_of_equal_file_names_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for study in (1, 2):
        write_series(tmp_path / f"patient{study}" / "series", f"1.2.{study}", *NAMES[1])

    found = named_slides([str(tmp_path)], recursive=True)

    assert [slide.name for slide in found] == ["patient1/series/full", "patient2/series/full"]
    assert all(slide.shares_name for slide in found)


def test_series_that_share_a_folder_are_slides_of_their_own(tmp_path: Path) -> None:
    slides = [write_series(tmp_path, f"1.2.{n}", *(f"{n}-{part}.dcm" for part in "abcd")) for n in (1, 2, 3)]

    assert find_slides([str(tmp_path)]) == slides


def test_dicom_files_that_are_no_picture_of_a_slide_are_left_out_of_a_folder(tmp_path: Path) -> None:
    write_dicom(tmp_path / "annotations.dcm", LABEL, Instance(sop_class="1.2.840.10008.5.1.4.1.1.91.1"))
    write_dicom(tmp_path / "label.dcm", LABEL, Instance(series="1.2.9", kind="LABEL"))
    (tmp_path / "LICENSE").write_text("not DICOM")
    (tmp_path / "damaged.dcm").write_bytes(b"to be named by the reader")

    assert find_slides([str(tmp_path)]) == [tmp_path / "damaged.dcm"]


def test_links_that_lead_nowhere_are_counted_among_what_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.svs").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "instance").symlink_to("gone")

    assert [slide.name for slide in named_slides([str(tmp_path)])] == ["a"]
    assert f"{tmp_path}: 2 files are left out: 1 " in caplog.text
    assert "1 broken links or pipes" in caplog.text


def test_what_a_folder_holds_besides_slides_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.svs", "a.xml", "b.xml", "README", "more/b.ndpi", "tiles/1.png", "c.mrxs", "c/Data.tif", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    assert find_slides([str(tmp_path)]) == [tmp_path / "a.svs", tmp_path / "c.mrxs"]

    files, folders = (record.getMessage() for record in caplog.records)
    assert files == f"{tmp_path}: 3 files are left out: 2 .xml, 1 without extension"
    assert folders.startswith(f"{tmp_path}: slides in its subfolders are left out (more); give recursive=True")


def test_jpegs_of_a_vms_slide_are_no_slides(tmp_path: Path) -> None:
    (tmp_path / "a.vms").write_text("ImageFile(0,0)=a(0,0).jpg\nMapFile=a_map.jpg\n")
    for name in ("a(0,0).jpg", "a_map.jpg", "photo.jpg"):
        (tmp_path / name).touch()

    assert find_slides([str(tmp_path)]) == [tmp_path / "a.vms", tmp_path / "photo.jpg"]


def test_folders_of_output_are_not_searched(tmp_path: Path) -> None:
    slide = write_series(tmp_path / "a/b/c/d", "1.2.3", *NAMES[0])
    write_series(tmp_path / "out" / "tiles", "1.2.4", *NAMES[0])
    (tmp_path / "out" / "extraction_report.json").touch()

    assert find_slides([str(tmp_path)]) == [slide]


def test_the_data_folder_of_a_mirax_slide_is_not_searched(tmp_path: Path) -> None:
    (tmp_path / "a.mrxs").touch()
    write_series(tmp_path / "a", "1.2.3", *NAMES[0])

    assert find_slides([str(tmp_path)]) == [tmp_path / "a.mrxs"]


@pytest.mark.parametrize("names", [["a"], ["a", "a.mrxs"], ["a.mrxs", "a/"], ["*"], ["a*", "a.mrxs"]])
def test_the_data_folder_of_a_mirax_slide_stands_for_it_if_it_is_named(tmp_path: Path, names: list[str]) -> None:
    """A shell makes both names of `*`."""
    write_mirax(tmp_path / "a.mrxs", FULL)

    assert find_slides(names, base=tmp_path) == [tmp_path / "a.mrxs"]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a.svs", "a"),
        ("a.b.ome.tif", "a.b"),
        ("A.OME.TIFF", "A"),
        ("1.2.840.7", "1.2.840.7"),
        ("1.2.840.7.dcm", "1.2.840.7"),
        ("plain", "plain"),
    ],
)
def test_a_slide_is_called_by_its_file_without_the_extension(file: str, name: str) -> None:
    assert slide_name(Path(file)) == name


def test_recursive_finds_slides_of_subfolders_but_not_those_that_a_run_made(tmp_path: Path) -> None:
    for name in ("b.svs", "site/a.svs", "site/deep/er/c.tif", "site/.hidden/d.svs", "site/notes.txt", "m.mrxs"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in ("out/tiles/e.png", "out/extraction_report.json", "m/Slidedat.ini", "m/f.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    found = find_slides([str(tmp_path)], ["c.*"], recursive=True)

    assert [str(path.relative_to(tmp_path)) for path in map(Path, found)] == ["b.svs", "m.mrxs", "site/a.svs"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("reader", [None, "openslide"])
def test_a_pipe_with_the_name_of_a_slide_is_refused_and_not_waited_for(tmp_path: Path, reader: str | None) -> None:
    path = tmp_path / "a.svs"
    os.mkfifo(path)

    with pytest.raises(SlideError, match=r"a\.svs: is a pipe, a socket or a device, and no file; leave it out"):
        open_slide(path, slides=Slides(reader=reader), mpp=0.5)


def linked(name: Path, to: Path, how: str) -> None:
    (name.symlink_to if how == "symbolic" else name.hardlink_to)(to)


@pytest.mark.parametrize("how", ["hard", "symbolic"])
def test_slides_that_share_their_first_file_only_are_two(tmp_path: Path, how: str) -> None:
    # As stores do that keep equal files once: the pixels of a MIRAX slide lie in the folder of its name, and those of a
    # VMS slide beside it.
    for name in ("store/picture", "a/Slidedat.ini", "b/Slidedat.ini", "c/Slidedat.ini", "x/image.jpg", "y/image.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "store" / "list").write_text("[Virtual Microscope Specimen]\nImageFile=image.jpg\n")
    for name in "abcd":
        linked(tmp_path / f"{name}.mrxs", tmp_path / "store" / "picture", how)
    for folder in "xyz":
        (tmp_path / folder).mkdir(exist_ok=True)
        linked(tmp_path / folder / "s.vms", tmp_path / "store" / "list", how)
    (tmp_path / "c" / "Slidedat.ini").unlink()
    linked(tmp_path / "c" / "Slidedat.ini", tmp_path / "a" / "Slidedat.ini", how)
    (tmp_path / "z" / "image.jpg").hardlink_to(tmp_path / "x" / "image.jpg")

    assert [slide.place.name for slide in named_slides([str(tmp_path)])] == ["a.mrxs", "b.mrxs"]
    assert [slide.name for slide in named_slides([tmp_path / folder / "s.vms" for folder in "xyz"])] == ["s", "s"]


def test_a_run_takes_a_slide_that_is_given_by_several_of_its_files_once(tmp_path: Path) -> None:
    """In Python, too, where nobody need ask `find_slides`."""
    slide = write_series(tmp_path, "1.2.3", *NAMES[0])
    table = {"slideloom": 1, "tiles": {"size_px": 20, "size_um": 10}, "filter": []}
    chosen = pipeline_from_table(table, where="test")

    for given in ([slide, tmp_path / "0.dcm"], [str(slide), str(tmp_path / "0.dcm")]):
        first, second = run_pipeline(chosen, given, tmp_path / "out", dry_run=True).slides
        assert (first.status, second.status) == ("done", "failed")
        assert second.error.endswith(f"0.dcm: is the same slide as {slide}, and would be there twice; leave one out")
    write_mirax(tmp_path / "a.mrxs", FULL)
    (tmp_path / "b.mrxs").symlink_to("a.mrxs")
    places = [tmp_path / "a.mrxs", tmp_path / "b.mrxs"]
    assert [each.status for each in run_pipeline(chosen, places, tmp_path / "out", dry_run=True).slides][1] == "failed"
