"""Slides on a web server: right pixels by ranges of bytes, or a refusal that names the slide; never wrong pixels."""

from __future__ import annotations

import json
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import slideloom as sl
from slideloom.base.lent_folders import check_room
from slideloom_formats.tiff import TiffTag, read_tiff_directories
from slideloom_remote.opening import file_system, open_remote_file, transport_of
from slideloom_remote.remote_file import FetchedFile

NO_WAIT = 0.001


def pixels(place: Path | str, **options: Any) -> list[Any]:
    with sl.WSI(place, 128, 64, **options) as wsi:
        return [tile.rgb for tile in wsi]


def run(out: Path, *places: sl.SlidePlace, **options: Any) -> sl.RunReport:
    pipeline = sl.pipeline_from_table(
        {
            "slideloom": 1,
            "tiles": {"size_px": 128, "size_um": 64},
            "filter": [],
            "sink": [{"use": "tfrecord"}],
            "run": {"jobs": 1, "threads": 2, **options},
        },
        where="test",
    )
    return sl.run_pipeline(pipeline, places, out)


def copies() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("*slideloom-*/*.tif"))


def quick(url: str, **options: Any) -> FetchedFile:
    """An open file that does not wait between tries."""
    files, path = file_system(sl.Address(url))
    return FetchedFile(sl.Address(url), transport_of(files, path, timeout_s=30, **options), first_wait_s=NO_WAIT)


def test_every_tile_of_a_slide_on_a_server_has_the_pixels_of_the_local_one(web: Any, slide: Path) -> None:
    url = web.put("folder/a.tif", slide.read_bytes())

    near, far = pixels(slide), pixels(url)

    assert len(near) == 192
    assert np.array_equal(near, far)


def test_one_tile_costs_a_small_part_of_the_file(web: Any, slide: Path) -> None:
    url = web.put("a.tif", slide.read_bytes())

    with sl.WSI(url, 128, 64) as wsi:
        tile = wsi[0, 0]

    assert tile.shape == (128, 128, 3)
    assert web.sent < slide.stat().st_size / 4
    assert all(asked.end - asked.start < slide.stat().st_size for asked in web.asked)


def test_tiles_that_lie_apart_are_asked_for_at_the_same_time(web: Any) -> None:
    url = web.put("a.bin", bytes(8 << 20))
    file = quick(url)
    together = threading.Barrier(4)
    first = len(web.asked)

    def wait(asked: Any) -> bool:
        together.wait()  # none is answered before all four are asked
        return False

    web.fault = wait
    found = file.read_pieces([(start, start + 100) for start in range(1 << 20, 5 << 20, 1 << 20)])

    assert [len(content) for content in found] == [100] * 4
    assert len(web.asked) - first == 4


def test_a_run_makes_the_same_bytes_as_of_the_local_file(web: Any, slide: Path, tmp_path: Path) -> None:
    address = sl.Address(web.put("a.tif", slide.read_bytes()))

    near, far = run(tmp_path / "near", slide), run(tmp_path / "far", address)

    assert (near.slides[0].status, far.slides[0].status) == ("done", "done")
    assert far.slides[0].path == address.url
    name = near.slides[0].outputs[0]
    assert (tmp_path / "near" / name).read_bytes() == (tmp_path / "far" / name).read_bytes()


def test_worker_processes_read_addresses(web: Any, slide: Path, tmp_path: Path) -> None:
    places = [sl.Address(web.put(name, slide.read_bytes())) for name in ("a.tif", "b.tif")]

    report = run(tmp_path / "out", *places, jobs=2)

    assert [(item.slide, item.status) for item in report.slides] == [("a", "done"), ("b", "done")]


def test_a_finished_slide_is_skipped_until_the_object_changes(web: Any, slide: Path, tmp_path: Path) -> None:
    address = sl.Address(web.put("a.tif", slide.read_bytes()))

    statuses = [run(tmp_path / "out", address).slides[0].status for _ in range(2)]
    web.etags["a.tif"] = "second"
    again = run(tmp_path / "out", address).slides[0]

    assert statuses == ["done", "skipped"]
    assert again.status == "done"
    assert "made again: its file" in " ".join(again.warnings)


def test_a_token_that_changes_does_not_make_a_slide_again(web: Any, slide: Path, tmp_path: Path) -> None:
    url = web.put("a.tif", slide.read_bytes())

    statuses = [run(tmp_path / "out", sl.Address(f"{url}?token={token}")).slides[0].status for token in ("x", "y")]

    assert statuses == ["done", "skipped"]


def test_slides_with_one_name_collide_whatever_their_folder(web: Any, slide: Path, tmp_path: Path) -> None:
    places = [sl.Address(web.put(name, slide.read_bytes())) for name in ("x/a.tif", "y/a.tif")]

    report = run(tmp_path / "out", *places)

    assert [item.status for item in report.slides] == ["done", "failed"]
    assert "another slide has this name" in report.slides[1].error


@pytest.mark.parametrize("name", ["%2e%2e%2fevil.tif", "..%5Cevil.tif", "%00.tif"])
def test_a_name_never_leads_to_another_folder(web: Any, name: str) -> None:
    with pytest.raises(sl.ConfigError, match="names no file"):
        sl.find_slides([web.url(name)])


def test_a_server_without_ranges_is_copied_and_the_copy_removed(web: Any, slide: Path) -> None:
    url = web.put("a.tif", slide.read_bytes())
    web.has_ranges = False

    with sl.open_slide(url) as opened:
        assert len(copies()) == 1
        thumbnail = opened.thumbnail(max_px=300)
        assert opened.info.path == sl.Address(url)

    with sl.open_slide(slide) as near:
        assert np.array_equal(near.thumbnail(max_px=300), thumbnail)
    assert copies() == []


def test_a_reader_that_needs_a_file_gets_a_copy_that_is_removed(web: Any, slide: Path, tmp_path: Path) -> None:
    url = web.put("a.tif", slide.read_bytes())

    with sl.open_slide(url, slides=sl.Slides(reader="vips")) as opened:
        assert (opened.info.reader, opened.info.name) == ("vips", "a")
        assert len(copies()) == 1

    assert copies() == []


def test_a_slide_that_is_not_closed_leaves_no_copy(web: Any, slide: Path) -> None:
    opened = sl.open_slide(web.put("a.tif", slide.read_bytes()), slides=sl.Slides(reader="vips"))
    assert len(copies()) == 1

    del opened

    assert copies() == []


def test_the_buffer_holds_the_copy_and_is_empty_afterwards(web: Any, slide: Path, tmp_path: Path) -> None:
    address = sl.Address(web.put("a.tif", slide.read_bytes()))

    first = run(tmp_path / "out", address, buffer=str(tmp_path / "buffer")).slides[0]
    second = run(tmp_path / "out", address).slides[0]

    assert (first.status, second.status) == ("done", "skipped")
    assert list((tmp_path / "buffer").iterdir()) == []


def test_a_copy_that_does_not_fit_is_refused_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(sl.SlideError, match=r"a\.svs: its copy needs 1000000000\.00 GB"):
        check_room(tmp_path, 10**18, name="a.svs", remedy="name another folder")


@pytest.mark.parametrize(("status", "said"), [(404, "404 Not Found"), (403, "403 Forbidden"), (401, "401 Unauth")])
def test_a_slide_that_cannot_be_had_is_refused_by_name(web: Any, tmp_path: Path, status: int, said: str) -> None:
    web.fault = lambda asked: asked.answer(status, b"no")

    report = run(tmp_path / "out", sl.Address(web.url("gone.svs"))).slides[0]

    assert report.status == "failed"
    assert report.error.startswith("gone.svs: cannot be read from http://127.0.0.1")
    assert said in report.error


def test_a_request_that_fails_once_is_tried_again(web: Any) -> None:
    content = bytes(range(256)) * 4096
    file = quick(web.put("a.bin", content))
    failed: list[int] = []

    def once(asked: Any) -> bool:
        if asked.start in failed:
            return False
        failed.append(asked.start)
        kind = len(failed) % 3
        if kind == 0:
            asked.handler.close_connection = True
            asked.handler.connection.shutdown(2)
            return True
        return bool(asked.answer(503, b"") if kind == 1 else asked.answer(429, b""))

    web.fault = once
    pieces = [(start, start + 1000) for start in range(100_000, 900_000, 200_000)]

    assert [bytes(found) for found in file.read_pieces(pieces)] == [content[a:b] for a, b in pieces]
    assert len(failed) == 4


def _short(asked: Any) -> bool:
    right = f"bytes {asked.start}-{asked.end - 1}/{1 << 20}"
    return bool(asked.answer(206, b"x" * (asked.end - asked.start - 1), ETag='"first"', Content_Range=right))


def _other_range(asked: Any) -> bool:
    wrong = f"bytes {asked.start + 1}-{asked.end}/{1 << 20}"
    return bool(asked.answer(206, b"x" * (asked.end - asked.start), ETag='"first"', Content_Range=wrong))


def _other_version(asked: Any) -> bool:
    right = f"bytes {asked.start}-{asked.end - 1}/{1 << 20}"
    return bool(asked.answer(206, b"x" * (asked.end - asked.start), ETag='"second"', Content_Range=right))


def _whole(asked: Any) -> bool:
    return bool(asked.answer(200, b"x" * (1 << 20), ETag='"first"'))


def _dropped(asked: Any) -> bool:
    asked.handler.close_connection = True
    asked.handler.connection.shutdown(2)
    return True


@pytest.mark.parametrize("fault", [_short, _dropped])
def test_bytes_that_never_come_whole_are_no_bytes(web: Any, fault: Any) -> None:
    file = quick(web.put("a.bin", bytes(1 << 20)))
    web.fault = fault

    assert [len(found) for found in file.read_pieces([(200_000, 201_000)])] == [0]
    with pytest.raises(OSError, match=r"instead of|isconnected"):
        file.read(200_000, 1000)


@pytest.mark.parametrize(
    ("fault", "said"),
    [(_other_range, "answers with"), (_other_version, "replaced while it was read"), (_whole, "ignores which bytes")],
)
def test_bytes_of_another_place_or_version_end_the_slide(web: Any, fault: Any, said: str) -> None:
    file = quick(web.put("a.bin", bytes(1 << 20)))
    web.fault = fault

    with pytest.raises(sl.SlideError, match=rf"^a\.bin: .*{said}"):
        file.read_pieces([(200_000, 201_000)])
    web.fault = None
    with pytest.raises(sl.SlideError, match=said):  # of a file that changed, no more is read
        file.read(0, 10)


def test_a_server_that_does_not_answer_is_given_up(web: Any) -> None:
    over = threading.Event()

    def silent(asked: Any) -> bool:
        over.wait()
        return True

    web.put("a.bin", bytes(1 << 20))
    web.fault = silent
    files, path = file_system(sl.Address(web.url("a.bin")))
    try:
        with pytest.raises(sl.SlideError, match=r"a\.bin: cannot be read .*no answer in time"):
            FetchedFile(sl.Address(web.url("a.bin")), transport_of(files, path, timeout_s=0.05), first_wait_s=NO_WAIT)
    finally:
        over.set()


def test_a_server_that_dies_ends_the_slide_and_not_only_its_tiles(web: Any) -> None:
    file = quick(web.put("a.bin", bytes(4 << 20)))
    web.fault = lambda asked: asked.answer(500, b"")

    with pytest.raises(sl.SlideError, match=r"a\.bin: can no longer be read .*500"):
        file.read_pieces([(start, start + 10) for start in range(200_000, 4_000_000, 400_000)])


def test_a_slide_that_changes_during_a_run_fails_and_leaves_nothing(web: Any, slide: Path, tmp_path: Path) -> None:
    address = sl.Address(web.put("a.tif", slide.read_bytes()))

    def change(asked: Any) -> bool:
        if asked.start > 200_000:
            web.etags["a.tif"] = "second"
        return False

    web.fault = change
    report = run(tmp_path / "out", address).slides[0]

    assert report.status == "failed"
    assert report.error.startswith("a.tif: changed while it was read")
    assert list((tmp_path / "out").rglob("*.tfrecords")) == []


def test_one_bad_range_costs_its_tiles_and_no_others(web: Any, slide: Path, tmp_path: Path) -> None:
    content = slide.read_bytes()
    address = sl.Address(web.put("a.tif", content))
    (image, *_) = read_tiff_directories(slide, [TiffTag.TILE_OFFSETS])
    bad = int(image.numbers(TiffTag.TILE_OFFSETS)[9])
    web.fault = lambda asked: bool(asked.start <= bad < asked.end and asked.answer(500, b""))

    report = run(tmp_path / "out", address).slides[0]

    assert report.status == "done"
    assert report.unreadable > 0
    assert report.written + report.unreadable == report.planned == 192
    assert report.unreadable < 60


def test_the_blocks_that_are_kept_have_a_bound(web: Any) -> None:
    from slideloom_remote.remote_file import BLOCK, KEPT_BLOCKS

    content = np.random.default_rng(0).bytes(BLOCK * (KEPT_BLOCKS + 40))
    file = quick(web.put("a.bin", content))

    for start in range(0, len(content), BLOCK * 8):
        assert file.read(start + 5, BLOCK * 2) == content[start + 5 : start + 5 + BLOCK * 2]
    before = len(web.asked)
    assert file.read(len(content) - 10, 10) == content[-10:]
    assert file.read(len(content) - 20, 10) == content[-20:-10]

    assert len(file._blocks) <= KEPT_BLOCKS
    assert len(web.asked) - before <= 1


def test_a_file_without_a_version_is_known_by_its_ends(web: Any) -> None:
    web.has_versions = False
    url = web.put("a.bin", bytes(1 << 20))

    first = open_remote_file(sl.Address(url)).identity
    same = open_remote_file(sl.Address(url)).identity
    web.put("a.bin", bytes((1 << 20) - 1) + b"x")
    other = open_remote_file(sl.Address(url)).identity

    assert first == same != other


def test_a_web_server_without_pages_of_its_folders_is_not_listed(web: Any) -> None:
    for name, said in (("folder/", r"no page of the folder \(404\)"), ("folder/*.svs", "does not list its folders")):
        with pytest.raises(sl.ConfigError, match=f"{said}.*name each slide"):
            sl.find_slides([web.url(name)])


def test_what_is_no_slide_is_refused_by_name_and_its_copy_removed(web: Any) -> None:
    url = web.put("a.tif", b"no slide at all, but some text")

    with pytest.raises(sl.UnsupportedSlide, match=r"a\.tif: no reader recognises it"):
        sl.open_slide(url)

    assert copies() == []


def test_info_of_an_address_is_that_of_the_file(web: Any, slide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from slideloom_cli.main import main

    url = web.put("a.tif", slide.read_bytes())

    assert main(["info", "--json", url]) == 0
    far = json.loads(capsys.readouterr().out)
    assert main(["info", "--json", str(slide)]) == 0
    near = json.loads(capsys.readouterr().out)

    assert far.pop("path") == url
    near.pop("path")
    assert far == near


def test_colours_of_a_slide_on_a_server_are_transformed_as_those_of_the_local_one(
    web: Any, slide: Path, tmp_path: Path
) -> None:
    coloured = tmp_path / "b.tif"
    image = pyvips.Image.new_from_file(str(slide)).icc_export(output_profile="p3")
    image.tiffsave(str(coloured), tile=True, tile_width=256, tile_height=256, compression="jpeg", Q=80, xres=2000,
                   yres=2000, resunit="cm")  # fmt: skip
    url = web.put("b.tif", coloured.read_bytes())
    table = {"slideloom": 1, "slides": {"icc": "srgb"}, "tiles": {"size_px": 128, "size_um": 64}, "filter": []}
    pipeline = sl.pipeline_from_table(table, where="test")

    near = sl.run_pipeline(pipeline, [coloured], tmp_path / "near").slides[0]
    far = sl.run_pipeline(pipeline, [sl.Address(url)], tmp_path / "far").slides[0]

    assert (near.status, far.status, far.error) == ("done", "done", "")
    name = near.outputs[0]
    assert (tmp_path / "near" / name).read_bytes() == (tmp_path / "far" / name).read_bytes()
    assert sl.run_pipeline(pipeline, [sl.Address(url)], tmp_path / "far").slides[0].status == "skipped"
