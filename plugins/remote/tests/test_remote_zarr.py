"""OME-Zarr slides at addresses: the pixels of the local folder; a chunk that cannot be had is an error, never white."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from pathlib import Path
from typing import Any, Literal
from urllib.request import Request, urlopen

import fsspec
import numpy as np
import pytest
import slideloom as sl
import zarr
from fsspec.implementations.memory import MemoryFileSystem
from slideloom.planning.remote_copies import copy_folder, parts_of_folder
from slideloom.plugins.discovery import registry
from slideloom_cli.main import main
from slideloom_remote.objects import WebObjects
from slideloom_remote.opening import file_system
from slideloom_remote.remote_folder import FetchedFolder
from slideloom_zarr import OmeZarrReader

SIDE = 64
SIZE = ("--tile-px", "64", "--tile-um", "32", "--filter", "none", "--jobs", "1")


def picture() -> sl.Rgb:
    return np.random.default_rng(5).integers(60, 250, (200, 300, 3), np.uint8)


def write(
    path: Path, *, kind: Literal[2, 3] = 3, fill: int = 0, shards: tuple[int, ...] | None = None, **options: Any
) -> Path:
    """Write an OME-Zarr of two levels; Zarr 2 is OME-Zarr 0.4."""
    root = zarr.open_group(path, mode="w", zarr_format=kind)
    for number in range(2):
        values = np.moveaxis(picture()[:: 1 << number, :: 1 << number], -1, 0)
        more: dict[str, Any] = {"chunk_key_encoding": {"name": "v2", "separator": "/"}} if kind == 2 else {}
        root.create_array(
            str(number), shape=values.shape, chunks=(1, SIDE, SIDE), dtype="uint8", fill_value=fill, shards=shards,
            **more, **options,
        )[...] = values  # fmt: skip
    unit = {"type": "space", "unit": "micrometer"}
    levels = [
        {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": [1.0, 0.5 * 2**n, 0.5 * 2**n]}]}
        for n in range(2)
    ]
    axes = [{"name": "c", "type": "channel"}, {"name": "y", **unit}, {"name": "x", **unit}]
    said: dict[str, Any] = {"multiscales": [{"axes": axes, "datasets": levels, "version": "0.4"}]}
    root.attrs.update(said if kind == 2 else {"ome": {"version": "0.5", **said}})
    return path


def put(web: Any, path: Path, name: str = "folder/a.ome.zarr") -> str:
    """The folder on the web server."""
    for file in path.rglob("*"):
        if file.is_file():
            web.put(f"{name}/{file.relative_to(path).as_posix()}", file.read_bytes())
    return str(web.url(name))


def store(files: Any, path: Path, home: str) -> None:
    for file in path.rglob("*"):
        if file.is_file():
            files.pipe(f"{home}/{file.relative_to(path).as_posix()}", file.read_bytes())


def pixels(place: Path | str, level: int = 0, **options: Any) -> sl.Rgb:
    with sl.open_slide(place, **options) as slide:
        assert slide.info.reader == "ome-zarr"
        return slide.read(sl.Point(0, 0), level, slide.info.levels[level].size)


def opened(url: str, **options: Any) -> sl.Slide:
    """An open slide that does not wait between tries."""
    files, path = file_system(sl.Address(url))
    folder = FetchedFolder(sl.Address(url), WebObjects(files, path, timeout_s=30), first_wait_s=0.001)
    return OmeZarrReader(**options).build().open_remote_folder(folder)


def whole(slide: sl.Slide) -> sl.Rgb:
    return slide.read(sl.Point(0, 0), 0, slide.info.size)


FORMS: dict[str, dict[str, Any]] = {
    "0.4": {"kind": 2},
    "0.5": {},
    "shards": {"shards": (3, 128, 128)},
    "plain": {"compressors": None},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("level", [0, 1])
def test_a_slide_on_a_web_server_has_the_pixels_of_the_local_folder(
    web: Any, tmp_path: Path, form: str, level: int
) -> None:
    path = write(tmp_path / "a.ome.zarr", **FORMS[form])

    found = pixels(put(web, path), level)

    assert np.array_equal(found, picture()[:: 1 << level, :: 1 << level])
    assert np.array_equal(found, pixels(path, level))


@pytest.mark.parametrize("form", FORMS)
def test_a_slide_in_a_bucket_has_the_pixels_of_the_local_folder(bucket: Any, tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "a.ome.zarr", **FORMS[form])
    store(bucket, path, "slides/x/a.ome.zarr")

    assert np.array_equal(pixels("s3://slides/x/a.ome.zarr"), picture())


@pytest.mark.parametrize("form", FORMS)
def test_a_slide_in_any_file_system_of_fsspec_is_read(tmp_path: Path, form: str) -> None:
    memory = fsspec.filesystem("memory")
    path = write(tmp_path / "a.ome.zarr", **FORMS[form])
    store(memory, path, "/x/a.ome.zarr")
    try:
        assert np.array_equal(pixels("memory://x/a.ome.zarr"), picture())
        assert np.array_equal(pixels("memory://x/a.ome.zarr/"), picture())
    finally:
        memory.rm("/x", recursive=True)


@pytest.mark.parametrize("name", ["a.zarr", "folder/a.ome.zarr", "a", "slide.data", "b.zarr/3"])
def test_a_folder_is_known_by_what_is_in_it(web: Any, tmp_path: Path, name: str) -> None:
    url = put(web, write(tmp_path / "a.ome.zarr"), name)

    assert np.array_equal(pixels(url), picture())


def run(out: Path, *words: str) -> tuple[int, list[dict[str, Any]]]:
    code = main(["extract", *words, "--out", str(out), *SIZE])
    return code, json.loads((out / "extraction_report.json").read_text())["slides"]


def test_a_run_makes_the_bytes_of_the_local_folder_and_is_resumed(web: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.zarr")
    url = put(web, path)

    (_, (near,)), (_, (far,)) = run(tmp_path / "near", str(path)), run(tmp_path / "far", url)
    _, (again,) = run(tmp_path / "far", url)

    assert (near["status"], far["status"], again["status"]) == ("done", "done", "skipped")
    assert (far["slide"], far["path"], far["written"]) == ("a", url, near["written"])
    (name,) = (item for item in near["outputs"] if item.endswith(".tfrecords"))
    assert (tmp_path / "near" / name).read_bytes() == (tmp_path / "far" / name).read_bytes()


@pytest.mark.parametrize("changed", ["zarr.json", "0/zarr.json", "0/c/0/0/0"])
def test_a_slide_that_has_changed_is_made_again(web: Any, tmp_path: Path, changed: str) -> None:
    url = put(web, write(tmp_path / "a.ome.zarr"))
    run(tmp_path / "out", url)

    name = f"folder/a.ome.zarr/{changed}"
    web.put(name, web.files[name] + b" " if changed.endswith("json") else web.files[name], etag="second")
    _, (again,) = run(tmp_path / "out", url)

    assert again["status"] == "done"


def test_addresses_in_a_pipeline_file_and_folders_of_a_bucket(bucket: Any, web: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.zarr")
    store(bucket, path, "slides/x/b.zarr")
    store(bucket, path, "slides/x/lab/c.zarr")
    bucket.pipe("slides/x/notes.txt", b"1")
    file = tmp_path / "pipeline.toml"
    file.write_text(
        f'slideloom = 1\n[slides]\ninclude = ["{put(web, path)}", "s3://slides/x/"]\n'
        "[tiles]\nsize_px = 64\nsize_um = 32\n[run]\njobs = 1\n"
    )

    assert main(["run", str(file), "--out", str(tmp_path / "out")]) == 0

    slides = json.loads((tmp_path / "out" / "extraction_report.json").read_text())["slides"]
    assert [(slide["slide"], slide["status"]) for slide in slides] == [("a", "done"), ("b", "done")]
    assert slides[0]["written"] == slides[1]["written"] > 0


def test_folders_that_are_slides_are_found_in_a_bucket(bucket: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.zarr")
    store(bucket, path, "slides/x/b.zarr")
    store(bucket, path, "slides/x/lab/c.ome.zarr")
    store(bucket, path, "slides/x/plain")
    bucket.pipe("slides/x/lab/d.svs", b"1")

    def found(place: str, **options: Any) -> list[str]:
        return [str(item) for item in sl.find_slides([place], **options)]

    assert found("s3://slides/x/") == ["s3://slides/x/b.zarr", "s3://slides/x/plain"]
    assert found("s3://slides/x/b.zarr/") == ["s3://slides/x/b.zarr"]
    assert found("s3://slides/x/plain/") == ["s3://slides/x/plain"]
    assert found("s3://slides/x/*.zarr") == ["s3://slides/x/b.zarr"]
    assert found("s3://slides/x/lab/", recursive=True) == ["s3://slides/x/lab/c.ome.zarr", "s3://slides/x/lab/d.svs"]
    assert [one.name for one in sl.named_slides(["s3://slides/x/lab/"], recursive=True)] == ["c", "d"]


def test_info_of_an_address_is_that_of_the_folder(web: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.ome.zarr")
    url = put(web, path)

    assert main(["info", "--json", url]) == 0
    far = json.loads(capsys.readouterr().out)
    assert main(["info", "--json", str(path)]) == 0
    near = json.loads(capsys.readouterr().out)

    assert far.pop("path") == url
    near.pop("path")
    assert far == near


def test_chunks_are_asked_for_at_the_same_time(web: Any, tmp_path: Path) -> None:
    url = put(web, write(tmp_path / "a.ome.zarr"))
    with opened(url) as slide:
        together = threading.Barrier(12)

        def wait(asked: Any) -> bool:
            together.wait()  # none is answered before twelve are asked
            return False

        web.fault = wait
        # Four tiles of three channels.
        found = slide.read(sl.Point(0, 0), 0, sl.Size(128, 128))

    assert np.array_equal(found, picture()[:128, :128])


def test_only_the_chunks_that_a_tile_needs_are_transferred(web: Any, tmp_path: Path) -> None:
    url = put(web, write(tmp_path / "a.ome.zarr", compressors=None))
    with opened(url) as slide:
        before = len(web.asked)
        slide.read(sl.Point(0, 0), 0, sl.Size(64, 64))
        slide.read(sl.Point(0, 0), 0, sl.Size(64, 64))

    assert sorted(asked.name for asked in web.asked[before:]) == [
        f"folder/a.ome.zarr/0/c/{channel}/0/0" for channel in range(3)
    ]


GONE = "folder/a.ome.zarr/0/c/1/0/0"


@pytest.mark.parametrize(("fill", "missing"), [(255, "auto"), (0, "fill")])
def test_a_chunk_that_is_not_there_has_the_fill_value(web: Any, tmp_path: Path, fill: int, missing: str) -> None:
    url = put(web, write(tmp_path / "a.ome.zarr", fill=fill))
    del web.files[GONE]
    expected = picture()
    expected[:SIDE, :SIDE, 1] = fill

    with opened(url, missing=missing) as slide:
        assert np.array_equal(whole(slide), expected)


def test_a_chunk_that_is_not_there_and_has_no_white_is_unreadable(web: Any, tmp_path: Path) -> None:
    url = put(web, write(tmp_path / "a.ome.zarr"))
    del web.files[GONE]

    with opened(url) as slide:
        with pytest.raises(sl.SlideError, match=r"chunk \(0, 0\) of level 0 is not there \(0/c/1/0/0\).*missing=fill"):
            slide.read(sl.Point(0, 0), 0, sl.Size(64, 64))
        assert np.array_equal(slide.read(sl.Point(64, 0), 0, sl.Size(64, 64)), picture()[:64, 64:128])


def _status(status: int) -> Any:
    return lambda asked: asked.name == GONE and bool(asked.answer(status, b"no"))


def _dropped(asked: Any) -> bool:
    if asked.name != GONE:
        return False
    asked.handler.close_connection = True
    asked.handler.connection.shutdown(2)
    return True


def _cut(asked: Any) -> bool:
    """The first half of the bytes, and then no more."""
    if asked.name != GONE:
        return False
    handler = asked.handler
    handler.send_response(200)
    handler.send_header("Content-Length", "4096")
    handler.end_headers()
    handler.wfile.write(b"\xff" * 2048)
    handler.close_connection = True
    return True


def _uncounted(asked: Any) -> bool:
    """An answer that says nothing of its length, and ends early."""
    if asked.name != GONE:
        return False
    handler = asked.handler
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(b"\xff" * 2048)
    handler.close_connection = True
    return True


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (_status(500), "500 Internal Server Error"),
        (_status(503), "503 Service Unavailable"),
        (_status(403), "403 Forbidden; give fsspec credentials"),
        (_status(401), "401 Unauthorized; give fsspec the credentials"),
        (_status(418), "418"),
        (_dropped, "isconnected"),
        (_cut, "not completed|ContentLength|payload"),
        (_uncounted, "does not say how long"),
    ],
    ids=["500", "503", "403", "401", "418", "dropped", "cut", "uncounted"],
)
@pytest.mark.parametrize("fill", [0, 255])
def test_a_request_that_fails_is_never_background(web: Any, tmp_path: Path, fault: Any, said: str, fill: int) -> None:
    url = put(web, write(tmp_path / "a.ome.zarr", fill=fill, compressors=None))
    with opened(url, missing="fill") as slide:
        web.fault = fault
        with pytest.raises(sl.SlideError, match=rf"(?s)a\.ome\.zarr: .*{said}") as raised:
            slide.read(sl.Point(0, 0), 0, sl.Size(64, 64))

    assert url in str(raised.value)
    assert "run again" in str(raised.value)


def test_a_request_that_fails_once_is_tried_again(web: Any, tmp_path: Path) -> None:
    url = put(web, write(tmp_path / "a.ome.zarr"))
    failed: set[str] = set()

    def once(asked: Any) -> bool:
        if "/0/c/" not in asked.name or asked.name in failed:
            return False
        failed.add(asked.name)
        return bool(asked.answer(503, b""))

    with opened(url) as slide:
        web.fault = once
        assert np.array_equal(whole(slide), picture())
    assert len(failed) == 60


def test_one_bad_chunk_costs_its_tiles_and_no_others(web: Any, tmp_path: Path) -> None:
    url = put(web, write(tmp_path / "a.ome.zarr", fill=255))
    web.fault = lambda asked: asked.name == GONE and "Range" not in asked.handler.headers and asked.answer(500, b"")

    code, (slide,) = run(tmp_path / "out", url)

    assert (code, slide["status"]) == (0, "done")
    assert (slide["planned"], slide["unreadable"]) == (12, 1)
    assert "cannot be read from http://127.0.0.1" in " ".join(slide["warnings"])


@pytest.mark.parametrize("status", [500, 403])
def test_a_server_that_dies_ends_the_slide_and_not_only_its_tiles(web: Any, tmp_path: Path, status: int) -> None:
    url = put(web, write(tmp_path / "a.ome.zarr", fill=255))
    with opened(url) as slide:
        web.fault = lambda asked: asked.answer(status, b"")

        with pytest.raises(sl.LostSlide, match=rf"a\.ome\.zarr: cannot be read from .*{status}.*run again when it can"):
            list(slide.read_each([sl.Point(x, y) for y in (0, 64, 128) for x in (0, 64, 128)], 0, sl.Size(64, 64)))
        web.fault = None
        with pytest.raises(sl.LostSlide):
            slide.read(sl.Point(256, 192), 0, sl.Size(40, 8))


def test_a_slide_that_is_removed_while_it_is_read_is_not_white(web: Any, tmp_path: Path) -> None:
    url = put(web, write(tmp_path / "a.ome.zarr", fill=255))
    with opened(url) as slide:
        web.files.clear()

        with pytest.raises(sl.LostSlide, match=r"a\.ome\.zarr: was removed or replaced at http"):
            slide.read(sl.Point(0, 0), 0, sl.Size(64, 64))


def test_a_shard_that_is_replaced_while_it_is_read_ends_the_slide(web: Any, tmp_path: Path) -> None:
    url = put(web, write(tmp_path / "a.ome.zarr", shards=(3, 256, 320), compressors=None))
    with opened(url) as slide:
        slide.read(sl.Point(0, 0), 0, sl.Size(64, 64))
        web.etags["folder/a.ome.zarr/0/c/0/0/0"] = "second"

        with pytest.raises(sl.LostSlide, match="was replaced while it was read"):
            slide.read(sl.Point(64, 64), 0, sl.Size(64, 64))


@pytest.mark.parametrize("fill", [0, 255])
def test_a_chunk_that_a_bucket_does_not_have_follows_the_rule_for_missing_ones(
    bucket: Any, tmp_path: Path, fill: int
) -> None:
    path = write(tmp_path / "a.ome.zarr", fill=fill)
    (path / "0" / "c" / "1" / "0" / "0").unlink()
    store(bucket, path, "slides/x/a.ome.zarr")
    expected = picture()
    expected[:SIDE, :SIDE, 1] = 255

    with sl.open_slide("s3://slides/x/a.ome.zarr") as slide:
        if fill == 255:
            assert np.array_equal(whole(slide), expected)
        else:
            with pytest.raises(sl.SlideError, match=r"chunk \(0, 0\) of level 0 is not there"):
                whole(slide)


def test_a_bucket_that_refuses_a_chunk_ends_the_slide(bucket: Any, server: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.zarr", fill=255)
    store(bucket, path, "slides/x/a.ome.zarr")

    with sl.open_slide("s3://slides/x/a.ome.zarr") as slide:
        before = _requests_without_rights(server, "0")
        try:
            with pytest.raises(sl.LostSlide, match=r"a\.ome\.zarr: cannot be read from s3://slides/x/a\.ome.* denied"):
                whole(slide)
        finally:
            _requests_without_rights(server, before)


def _requests_without_rights(server: str, count: str) -> str:
    """Let moto answer so many more requests without looking at rights; returns the number before."""
    plain = {"Content-Type": "text/plain"}
    with urlopen(Request(f"{server}/moto-api/reset-auth", data=count.encode(), headers=plain), timeout=60) as answer:
        return str(json.loads(answer.read())["PREVIOUS_INITIAL_NO_AUTH_ACTION_COUNT"])


def test_a_slide_that_is_removed_from_a_bucket_while_it_is_read_is_not_white(bucket: Any, tmp_path: Path) -> None:
    store(bucket, write(tmp_path / "a.ome.zarr", fill=255), "slides/x/a.ome.zarr")
    with sl.open_slide("s3://slides/x/a.ome.zarr") as slide:
        bucket.rm("slides/x/a.ome.zarr", recursive=True)

        with pytest.raises(sl.LostSlide, match="was removed or replaced at s3://slides/x"):
            whole(slide)


def test_a_shard_that_is_replaced_in_a_bucket_while_it_is_read_ends_the_slide(bucket: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.zarr", shards=(3, 256, 320), compressors=None)
    store(bucket, path, "slides/x/a.ome.zarr")
    with sl.open_slide("s3://slides/x/a.ome.zarr") as slide:
        slide.read(sl.Point(0, 0), 0, sl.Size(64, 64))
        name = "slides/x/a.ome.zarr/0/c/0/0/0"
        bucket.pipe(name, bytes(len(bucket.cat(name))))

        with pytest.raises(sl.LostSlide, match="was replaced while it was read"):
            slide.read(sl.Point(64, 64), 0, sl.Size(64, 64))


def test_a_shard_on_a_server_without_ranges_is_refused_with_the_remedy(web: Any, tmp_path: Path) -> None:
    url = put(web, write(tmp_path / "a.ome.zarr", shards=(3, 128, 128)))
    web.has_ranges = False
    with opened(url) as slide, pytest.raises(sl.SlideError, match=r"ignores which bytes .*copy the folder"):
        whole(slide)


def test_chunks_need_no_ranges(web: Any, tmp_path: Path) -> None:
    url = put(web, write(tmp_path / "a.ome.zarr"))
    web.has_ranges = False

    assert np.array_equal(pixels(url), picture())


def test_what_is_no_slide_is_refused_by_its_address(web: Any) -> None:
    with pytest.raises(sl.SlideError, match=r"a\.zarr: no reader finds an OME-Zarr slide at http.*/a\.zarr: correct"):
        sl.open_slide(web.url("a.zarr"))
    web.put("b.zarr/zarr.json", b"<html>not found</html>")
    with pytest.raises(sl.SlideError, match=r"b\.zarr: no reader finds an OME-Zarr slide at http"):
        sl.open_slide(web.url("b.zarr"))
    web.fault = lambda asked: asked.answer(403, b"")
    with pytest.raises(sl.SlideError, match=r"a\.zarr: cannot be read from http.*403 Forbidden"):
        sl.open_slide(web.url("a.zarr"))


def test_a_server_that_fails_at_the_first_request_is_to_blame_and_no_reader(web: Any, tmp_path: Path) -> None:
    url = put(web, write(tmp_path / "a.ome.zarr"))
    web.fault = lambda asked: asked.answer(500, b"")

    with pytest.raises(sl.SlideError, match=r"a\.ome\.zarr: cannot be read from http.*500 Internal.*run again"):
        sl.open_slide(url)


def test_a_file_is_read_though_all_names_below_it_are_refused(web: Any, slide: Path) -> None:
    url = web.put("folder/a", slide.read_bytes())
    web.fault = lambda asked: asked.name.startswith("folder/a/") and asked.answer(403, b"")

    with sl.open_slide(url) as opened_slide:
        assert opened_slide.info.reader == "tiff"


def test_names_that_lead_out_of_the_folder_are_not_followed(web: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.zarr")
    text = (path / "zarr.json").read_text()
    (path / "zarr.json").write_text(text.replace('"path": "0"', '"path": "../../secret"'))
    url = put(web, path)

    with pytest.raises(sl.SlideError, match=r"a\.ome\.zarr: "):
        sl.open_slide(url)
    assert [asked.name for asked in web.asked if "secret" in asked.name] == []


def test_credentials_reach_no_report_and_no_log(
    bucket: Any, web: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.ome.zarr")
    store(bucket, path, "slides/x/b.zarr")
    url = put(web, path).replace("//", "//somebody:hunter-7@") + "?token=tok-3"
    web.fault = lambda asked: asked.name == GONE and asked.answer(500, b"")

    log = tmp_path / "run.jsonl"
    words = [url, "s3://slides/x/", "https://u-ser:pass-9@127.0.0.1:1/gone.zarr?sig=sig-5"]
    run(tmp_path / "out", *words, "--log", str(log), "--debug")

    said = "".join(capfd.readouterr())
    files = [file for file in [*(tmp_path / "out").rglob("*"), log] if file.is_file()]
    everything = said + "".join(file.read_bytes().decode("latin-1") for file in files)
    assert "a.ome.zarr" in everything
    secrets = ("hunter-7", "tok-3", "pass-9", "sig-5", "u-ser", "AKIA-somebody", "secret-of-somebody")
    assert [word for word in secrets if word in everything] == []


def test_a_buffer_holds_the_folder_and_makes_the_same_bytes(bucket: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.zarr", fill=255)
    gone = next(file for file in (path / "0" / "c").rglob("*") if file.is_file())
    gone.unlink()  # a chunk that is white
    store(bucket, path, "slides/a.ome.zarr")
    buffer = ("--buffer", str(tmp_path / "buffer"), "--log", str(tmp_path / "log.jsonl"))

    _, (near,) = run(tmp_path / "near", str(path))
    code, (far,) = run(tmp_path / "far", "s3://slides/a.ome.zarr", *buffer)
    _, (again,) = run(tmp_path / "far", "s3://slides/a.ome.zarr")

    assert (code, far["status"], again["status"]) == (0, "done", "skipped")
    (name,) = (item for item in near["outputs"] if item.endswith(".tfrecords"))
    assert (tmp_path / "far" / name).read_bytes() == (tmp_path / "near" / name).read_bytes()
    assert "is read from where it is" not in (tmp_path / "log.jsonl").read_text()
    assert list((tmp_path / "buffer").iterdir()) == []


def test_a_finished_folder_is_not_copied_to_the_buffer_again(web: Any, tmp_path: Path) -> None:
    web.has_pages = True
    url = put(web, write(tmp_path / "a.ome.zarr"))
    buffer = ("--buffer", str(tmp_path / "buffer"))
    _, (first,) = run(tmp_path / "out", url, *buffer)
    before, web.sent, web.asked = web.sent, 0, []

    _, (again,) = run(tmp_path / "out", url, *buffer)

    assert (first["status"], again["status"]) == ("done", "skipped")
    chunks = [asked for asked in web.asked if "/c/" in asked.name]
    assert all((asked.start, asked.end) == (0, 1) for asked in chunks)  # only their size and version
    assert web.sent < before / 10


def test_a_folder_on_a_server_that_lists_none_is_read_where_it_is(web: Any, tmp_path: Path) -> None:
    url = put(web, write(tmp_path / "a.ome.zarr"))

    code, (slide,) = run(tmp_path / "out", url, "--buffer", str(tmp_path / "buffer"))

    assert (code, slide["status"]) == (0, "done")


def copied(web: Any, path: Path, folder: Path) -> Path:
    """The copy of a Zarr on a web server that lists its folders."""
    web.has_pages = True
    address = sl.Address(put(web, path, "a.ome.zarr"))
    folder.mkdir()
    return copy_folder(parts_of_folder(address, registry()), folder, remedy="none is needed")


def test_a_copied_folder_has_all_files_of_the_original(web: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.zarr")

    copy = copied(web, path, tmp_path / "copy")

    files = {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    assert {file.relative_to(copy): file.read_bytes() for file in copy.rglob("*") if file.is_file()} == files


@pytest.mark.parametrize(("status", "said"), [(403, "403 Forbidden"), (404, "404 Not Found")])
def test_a_chunk_that_is_listed_and_cannot_be_had_is_no_missing_one(
    web: Any, tmp_path: Path, status: int, said: str
) -> None:
    web.fault = lambda asked: asked.name == "a.ome.zarr/0/c/0/0/0" and asked.answer(status, b"no")

    with pytest.raises(sl.SlideError, match=rf"a\.ome\.zarr: .*0/c/0/0/0|{said}"):
        copied(web, write(tmp_path / "a.ome.zarr"), tmp_path / "copy")


def test_a_folder_that_changes_while_it_is_copied_is_refused(web: Any, tmp_path: Path) -> None:
    def growing(asked: Any) -> bool:
        if asked.name == "a.ome.zarr/1/c/2/0/0":
            web.put("a.ome.zarr/0/c/9", b"came later")
        return False

    web.fault = growing

    with pytest.raises(sl.SlideError, match=r"0/c/9 came or went while the slide was copied"):
        copied(web, write(tmp_path / "a.ome.zarr"), tmp_path / "copy")


def test_a_folder_that_is_gone_when_it_was_copied_does_not_stop_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, ls = MemoryFileSystem(), MemoryFileSystem.ls
    store(files, write(tmp_path / "a.ome.zarr"), "/slides/a.ome.zarr")
    listed: list[str] = []

    def vanishing(self: MemoryFileSystem, path: str, detail: bool = True, **options: Any) -> Any:
        listed.append(path)
        if path == "/slides/a.ome.zarr" and listed.count(path) > 1:
            raise FileNotFoundError(path)
        return ls(self, path, detail, **options)

    monkeypatch.setattr(MemoryFileSystem, "ls", vanishing)

    code, (slide,) = run(tmp_path / "out", "memory://slides/a.ome.zarr", "--buffer", str(tmp_path / "buffer"))

    files.rm("/slides", recursive=True)
    assert listed.count("/slides/a.ome.zarr") > 1
    assert (code, slide["status"]) == (0, "done")  # read where it is
    assert list((tmp_path / "buffer").iterdir()) == []


def test_a_zip_file_of_chunks_is_copied_and_read(web: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.zarr")
    packed = Path(shutil.make_archive(str(tmp_path / "b.ome.zarr"), "zip", path))
    url = web.put("b.ome.zarr.zip", packed.read_bytes())

    assert np.array_equal(pixels(url), picture())


def test_requests_are_told_at_the_end(web: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = put(web, write(tmp_path / "a.ome.zarr"))
    caplog.set_level(logging.INFO, "slideloom_remote")

    pixels(url)

    assert any("requests of its server" in record.message for record in caplog.records)
