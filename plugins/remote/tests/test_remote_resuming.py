"""A run that is started again knows finished slides at addresses by their identity, without copying or opening them."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slideloom as sl
from slideloom_cli.main import main
from slideloom_testing.dicom import Instance, write_dicom
from slideloom_testing.several_files import write_mirax

ROWS, COLUMNS = np.mgrid[:256, :512]
PICTURE: sl.Rgb = np.stack([COLUMNS // 4, ROWS // 3, (COLUMNS + ROWS) // 8], -1).astype(np.uint8)
Put = Callable[[Path], str]
SIZE = ["--tile-px", "64", "--tile-um", "32", "--filter", "none"]
NAMES = ["d", "m", "plain", "t"]


def write_plain(path: Path, rgb: sl.Rgb = PICTURE) -> Path:
    """A TIFF without compression, which is copied; any two of one shape have the same size."""
    import pyvips

    pyvips.Image.new_from_array(rgb).tiffsave(
        str(path), tile=True, tile_width=128, tile_height=128, xres=2000, yres=2000, resunit="cm"
    )
    return path


@pytest.fixture
def folder(slide: Path, tmp_path: Path) -> Path:
    """Slides that are copied (DICOM of two files, MRXS, a TIFF without compression), and one that is not."""
    found = tmp_path / "x"
    found.mkdir()
    write_plain(found / "plain.tif")
    write_mirax(found / "m.mrxs", PICTURE)
    for number, rgb in enumerate((PICTURE, PICTURE[::2, ::2]), 1):
        name = "d.dcm" if number == 1 else "e.dcm"
        write_dicom(found / name, rgb, Instance(series="1.2.3", number=number, kind="VOLUME"))
    slide.rename(found / "t.tif")
    return found


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of slides go to a folder that nobody else uses."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


def run(out: Path, *words: str) -> dict[str, str]:
    """The status of each slide after a run."""
    main(["extract", *words, "--out", str(out), *SIZE])
    slides = json.loads((out / "extraction_report.json").read_text())["slides"]
    return {slide["slide"]: slide["status"] for slide in slides}


def done(word: str) -> dict[str, str]:
    return dict.fromkeys(NAMES, word)


@pytest.mark.parametrize("buffered", [False, True])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_second_run_transfers_no_slide(
    web: Any, put_web: Put, folder: Path, tmp_path: Path, buffered: bool, jobs: str
) -> None:
    url, words = put_web(folder), ["--jobs", jobs]
    words += ["--buffer", str(tmp_path / "buffer")] if buffered else []
    assert run(tmp_path / "out", f"{url}/", *words) == done("done")
    first, web.sent, web.asked = web.sent, 0, []

    assert run(tmp_path / "out", f"{url}/", *words) == done("skipped")

    assert first > 1_000_000
    # A new process looks into the heads of files beside DICOM, of 4 KiB each, once.
    assert web.sent < 2 * 4096 * len(list(folder.iterdir()))
    assert {asked.name for asked in web.asked if asked.end - asked.start > 4096} == set()


@pytest.mark.parametrize(("names", "requests"), [(["t"], 1), (["plain", "t"], 2)])
def test_a_finished_tiff_costs_one_request_of_one_byte(
    web: Any, put_web: Put, folder: Path, tmp_path: Path, names: list[str], requests: int
) -> None:
    """And another where several are named in one folder, as they may be of one DICOM series."""
    url = put_web(folder)
    addresses = [f"{url}/{name}.tif" for name in names]
    run(tmp_path / "out", *addresses)
    web.asked.clear()

    assert run(tmp_path / "out", *addresses) == dict.fromkeys(names, "skipped")

    assert sorted((asked.name, asked.start, asked.end) for asked in web.asked) == [
        (f"x/{name}.tif", 0, 1) for name in names for _ in range(requests)
    ]


def test_slides_in_a_bucket_are_known_again(
    bucket: Any, put_bucket: Put, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def asked() -> list[tuple[str, str]]:
        """Method and name of each request for an object, as the server logs them."""
        lines = [record.getMessage() for record in caplog.records if record.name == "werkzeug"]
        caplog.clear()
        found = [re.search(r"(HEAD|GET) /slides/x/(\S+)", line) for line in lines]
        return [(match[1], match[2]) for match in found if match is not None]

    url = put_bucket(folder)
    with caplog.at_level("INFO"):
        assert run(tmp_path / "out", f"{url}/") == done("done")
        assert {name for method, name in asked() if method == "GET"} >= {"t.tif", "plain.tif", "m/Data0001.dat"}

        assert run(tmp_path / "out", f"{url}/") == done("skipped")
        assert {name for method, name in asked() if method == "GET"} == {"m/Slidedat.ini"}
        assert run(tmp_path / "out", f"{url}/t.tif") == {"t": "skipped"}
        assert set(asked()) == {("HEAD", "t.tif")}


def test_a_slide_replaced_by_one_of_the_same_size_is_made_again(
    web: Any, put_web: Put, folder: Path, tmp_path: Path
) -> None:
    url, out = put_web(folder), tmp_path / "out"
    run(out, f"{url}/plain.tif", f"{url}/m.mrxs")
    before = (out / "tfrecords/64px_32um/plain.tfrecords").read_bytes()

    size = (folder / "plain.tif").stat().st_size
    write_plain(folder / "plain.tif", 255 - PICTURE)
    assert (folder / "plain.tif").stat().st_size == size
    put_web(folder)

    assert run(out, f"{url}/plain.tif", f"{url}/m.mrxs") == {"plain": "done", "m": "skipped"}
    assert (out / "tfrecords/64px_32um/plain.tfrecords").read_bytes() != before


@pytest.mark.parametrize("part", ["m/Data0001.dat", "m/Slidedat.ini"])
def test_a_part_replaced_by_one_of_the_same_size_makes_its_slide_again(
    web: Any, put_web: Put, folder: Path, tmp_path: Path, part: str
) -> None:
    url = put_web(folder)
    run(tmp_path / "out", f"{url}/")

    web.etags[f"x/{part}"] = "another"

    assert run(tmp_path / "out", f"{url}/") == {**done("skipped"), "m": "done"}


def test_a_file_added_to_a_series_makes_its_slide_again(web: Any, put_web: Put, folder: Path, tmp_path: Path) -> None:
    url = put_web(folder)
    run(tmp_path / "out", f"{url}/")

    write_dicom(folder / "f.dcm", PICTURE[::4, ::4], Instance(series="1.2.3", number=3, kind="VOLUME"))
    put_web(folder)

    assert run(tmp_path / "out", f"{url}/") == {**done("skipped"), "d": "done"}


def test_a_server_that_tells_no_versions_gives_its_slides_each_time_and_that_is_said_once(
    web: Any, put_web: Put, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    web.has_versions = False
    url = put_web(folder)
    assert run(tmp_path / "out", f"{url}/") == done("done")
    web.sent = 0
    caplog.clear()

    assert run(tmp_path / "out", f"{url}/") == done("skipped")

    assert web.sent > sum(file.stat().st_size for file in folder.rglob("*") if "t.tif" not in file.name) / 2
    (said,) = [record.getMessage() for record in caplog.records if "to know that they are finished" in record.message]
    assert said.startswith("4 finished slides, such as d, were opened or copied again")
    assert said.endswith("its server tells neither ETag nor date of its files")

    write_plain(folder / "plain.tif", 255 - PICTURE)
    put_web(folder)
    assert run(tmp_path / "out", f"{url}/")["plain"] == "done"


def test_a_server_of_several_machines_that_tell_different_versions_is_named(
    web: Any, put_web: Put, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = f"{put_web(folder)}/plain.tif"

    def other(asked: Any) -> bool:
        web.etags["x/plain.tif"] = "of one machine" if asked.end - asked.start > 1 else "of another"
        return False

    web.fault = other
    assert run(tmp_path / "out", place) == {"plain": "done"}
    assert run(tmp_path / "out", place) == {"plain": "skipped"}

    (said,) = [record.getMessage() for record in caplog.records if "to know that they are finished" in record.message]
    assert said.endswith("its server tells another version of the same file each time")


def test_other_pipelines_outputs_and_regions_are_seen_without_opening(
    web: Any, put_web: Put, folder: Path, tmp_path: Path
) -> None:
    """Each of today's reasons to make a slide again is one still."""
    place, out, rois = f"{put_web(folder)}/plain.tif", tmp_path / "out", tmp_path / "rois"
    rois.mkdir()
    square = "ROI_name,X_base,Y_base\nr,10,10\nr,400,10\nr,400,200\nr,10,200\n"
    (rois / "plain.csv").write_text(square)
    words = (place, "--roi", str(rois))
    assert run(out, *words) == {"plain": "done"}
    assert run(out, *words) == {"plain": "skipped"}

    (rois / "plain.csv").write_text(square.replace("400", "300"))
    assert run(out, *words) == {"plain": "done"}
    assert run(out, *words) == {"plain": "skipped"}
    (rois / "plain.csv").unlink()
    assert run(out, *words) == {"plain": "done"}
    (out / "tfrecords/64px_32um/plain.tfrecords").unlink()
    assert run(out, *words) == {"plain": "done"}
    assert run(out, *words, "--redo") == {"plain": "done"}
    assert run(out, *words) == {"plain": "skipped"}


def test_a_picture_that_is_missing_is_made_of_the_opened_slide(
    web: Any, put_web: Put, folder: Path, tmp_path: Path
) -> None:
    place, out = f"{put_web(folder)}/plain.tif", tmp_path / "out"
    run(out, place)

    assert run(out, place, "--overview") == {"plain": "skipped"}

    assert (out / "slideloom/64px_32um/overviews/plain.png").is_file()


def test_another_mpp_in_a_table_of_slides_is_seen(web: Any, put_web: Put, folder: Path, tmp_path: Path) -> None:
    place, table = f"{put_web(folder)}/plain.tif", tmp_path / "mpp.csv"
    table.write_text("slide,mpp\nplain,0.5\n")
    words = (place, "--mpp-file", str(table))
    assert run(tmp_path / "out", *words) == {"plain": "done"}
    before = json.loads((tmp_path / "out/slideloom/64px_32um/slides/plain.json").read_text())

    table.write_text("slide,mpp\nplain,0.25\n")
    with pytest.raises(AssertionError):  # the folder holds tiles made with other settings
        assert main(["extract", *words, "--out", str(tmp_path / "out"), *SIZE]) == 0
    assert run(tmp_path / "out", *words, "--redo") == {"plain": "done"}

    after = json.loads((tmp_path / "out/slideloom/64px_32um/slides/plain.json").read_text())
    assert (before["mpp"], after["mpp"]) == ([0.5, 0.5], [0.25, 0.25])


def test_what_is_noted_holds_no_properties_that_nobody_asked_for(
    web: Any, put_web: Put, folder: Path, tmp_path: Path
) -> None:
    """They may name the patient."""
    run(tmp_path / "out", f"{put_web(folder)}/")

    notes = [json.loads(path.read_text()) for path in sorted((tmp_path / "out").rglob("opened/*.json"))]

    assert [len(note["identity"]) for note in notes] == [2, 5, 1, 1]
    assert [note["properties"] for note in notes] == [{}] * 4


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"place": 1}'])
def test_a_note_that_cannot_be_read_is_as_good_as_none(
    web: Any, put_web: Put, folder: Path, tmp_path: Path, damage: str
) -> None:
    place, out = f"{put_web(folder)}/plain.tif", tmp_path / "out"
    run(out, place)
    note = out / "slideloom/64px_32um/opened/plain.json"
    whole = note.read_bytes()
    note.write_text(damage)

    assert run(out, place) == {"plain": "skipped"}

    assert note.read_bytes() == whole


def test_a_note_of_another_slide_is_never_believed(web: Any, put_web: Put, folder: Path, tmp_path: Path) -> None:
    """Even with the identity of the slide as it is now: the report has the digest of the slide as it was."""
    url, out = put_web(folder), tmp_path / "out"
    run(out, f"{url}/plain.tif")
    web.etags["x/plain.tif"] = "another"
    note = out / "slideloom/64px_32um/opened/plain.json"
    table = json.loads(note.read_text())
    table["identity"][0][2] = '"another"'
    note.write_text(json.dumps(table))

    assert run(out, f"{url}/plain.tif") == {"plain": "done"}


@pytest.mark.parametrize("version", [{}, {"ETag": 'W/"of its second and size"'}], ids=["date", "weak ETag"])
def test_a_slide_replaced_within_the_second_in_which_it_is_opened_is_read_as_it_is_afterwards(
    web: Any, put_web: Put, folder: Path, tmp_path: Path, version: dict[str, str]
) -> None:
    """Its date and size stay the same, so no later run could see that it has changed."""
    place, out = f"{put_web(folder)}/plain.tif", tmp_path / "out"
    then, later = "Thu, 26 Nov 2026 12:00:00 GMT", "Thu, 26 Nov 2026 12:00:01 GMT"
    write_plain(folder / "plain.tif", 255 - PICTURE)

    def dated(asked: Any) -> bool:
        content = web.files[asked.name]
        asked.handler.date_time_string = lambda: later if is_replaced else then
        told = {"Content_Range": f"bytes {asked.start}-{asked.end - 1}/{len(content)}", "Last_Modified": then}
        asked.answer(206, content[asked.start : asked.end], **told, **version)
        if not is_replaced and asked.end - asked.start > 1:
            is_replaced.append(True)
            put_web(folder)
        return True

    is_replaced: list[bool] = []
    web.fault = dated
    assert run(out, place) == {"plain": "done"}
    assert run(out, place) == {"plain": "skipped"}

    main(["extract", str(folder / "plain.tif"), "--out", str(tmp_path / "local"), *SIZE])
    tiles = "tfrecords/64px_32um/plain.tfrecords"
    assert (out / tiles).read_bytes() == (tmp_path / "local" / tiles).read_bytes()
