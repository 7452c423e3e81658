"""Slides of several files at addresses: found once, copied whole or refused, and the pixels of the local files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fsspec
import numpy as np
import pytest
import slideloom as sl
from slideloom_cli.main import main
from slideloom_testing.dicom import Instance, write_dicom
from slideloom_testing.several_files import write_mirax, write_vms

ROWS, COLUMNS = np.mgrid[:256, :512]
PICTURE: sl.Rgb = np.stack([COLUMNS // 4, ROWS // 3, (COLUMNS + ROWS) // 8], -1).astype(np.uint8)
Put = Callable[[Path], str]


def write_series(folder: Path, *, names: tuple[str, ...] = ("1.dcm", "2.dcm", "3.dcm"), series: str = "1.2.3") -> Path:
    """A DICOM slide: a level, the same made smaller, and a label."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = PICTURE, PICTURE[::2, ::2], PICTURE[:64, :64]
    for number, (name, rgb, kind) in enumerate(zip(names, pictures, ("VOLUME", "VOLUME", "LABEL"), strict=True), 1):
        write_dicom(folder / name, rgb, Instance(series=series, number=number, kind=kind))
    return folder / names[0]


def write_all(folder: Path) -> Path:
    """A folder with a slide of each kind, and files that are none."""
    write_series(folder)
    write_mirax(folder / "m.mrxs", PICTURE)
    write_vms(folder / "v.vms", PICTURE)
    (folder / "notes.txt").write_text("no slide")
    return folder


def found(*places: str | Path, **options: Any) -> list[str]:
    return [slide.name for slide in sl.named_slides([str(place) for place in places], **options)]


def pixels(place: str | Path) -> sl.Rgb:
    with sl.open_slide(place) as slide:
        return slide.read(sl.Point(0, 0), 0, slide.info.size)


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of slides go to a folder that nobody else uses."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


def copies() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("*slideloom-*/*"))


def run(out: Path, *words: str) -> list[dict[str, Any]]:
    """Slides of the report of a run whose tiles need no tissue."""
    size = ["--tile-px", "64", "--tile-um", "32", "--filter", "none"]
    main(["extract", *words, "--out", str(out), *size])
    slides: list[dict[str, Any]] = json.loads((out / "extraction_report.json").read_text())["slides"]
    return slides


def test_each_slide_of_several_files_is_found_once_and_has_its_local_pixels(put: Put, tmp_path: Path) -> None:
    folder = write_all(tmp_path / "x")
    url = put(folder)

    assert found(f"{url}/") == found(url) == found(folder) == ["1", "m", "v"]
    for name in ("1.dcm", "m.mrxs", "v.vms"):
        assert np.array_equal(pixels(f"{url}/{name}"), pixels(folder / name))
    assert copies() == []


def test_any_file_of_a_series_stands_for_the_slide(put: Put, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "x").parent
    url = put(folder)

    assert found(f"{url}/2.dcm") == found(f"{url}/3.dcm") == ["1"]
    assert found(f"{url}/2.dcm", f"{url}/1.dcm", f"{url}/") == ["1"]
    assert np.array_equal(pixels(f"{url}/3.dcm"), PICTURE)


def test_a_study_of_folders_and_files_without_extensions_is_found_as_on_a_disk(put: Put, tmp_path: Path) -> None:
    for patient in ("p1", "p2"):
        names = ("1.2.840.1", "1.2.840.2", "IM3")
        write_series(tmp_path / "x" / patient / "study" / "series", names=names, series=f"1.2.{patient[1]}")
    (tmp_path / "x" / "p1" / "readme").write_text("no slide")
    url = put(tmp_path / "x")

    assert found(f"{url}/") == found(tmp_path / "x") == ["1.2.840.1", "1.2.840.1"]
    below = found(f"{url}/", recursive=True)
    assert below == found(tmp_path / "x", recursive=True)
    assert below == ["p1/study/series/1.2.840.1", "p2/study/series/1.2.840.1"]


def test_a_pattern_stands_for_slides_and_not_for_their_files(bucket: Any, put_bucket: Put, tmp_path: Path) -> None:
    url = put_bucket(write_all(tmp_path / "x"))

    assert found(f"{url}/*.dcm") == ["1"]
    assert found(f"{url}/*.jpg", f"{url}/v.vms") == ["v"]


def test_the_root_of_a_web_server_is_a_folder(web: Any, tmp_path: Path) -> None:
    web.has_pages = True
    for name in ("b.svs", "a.svs"):
        web.put(name, b"1")

    assert found(web.url("")) == ["a", "b"]


def test_an_output_folder_in_a_bucket_is_not_looked_into(bucket: Any, put_bucket: Put, tmp_path: Path) -> None:
    write_series(tmp_path / "x" / "out")
    (tmp_path / "x" / "out" / "extraction_report.json").write_text("{}")
    write_mirax(tmp_path / "x" / "m.mrxs", PICTURE)

    assert found(f"{put_bucket(tmp_path / 'x')}/", recursive=True) == ["m"]


def test_a_run_through_the_buffer_has_the_local_tiles_is_resumed_and_leaves_no_copy(put: Put, tmp_path: Path) -> None:
    folder = write_all(tmp_path / "x")
    url = put(folder)
    buffer = ("--buffer", str(tmp_path / "buffer"))

    near = run(tmp_path / "near", str(folder))
    far = run(tmp_path / "far", f"{url}/", *buffer)
    again = run(tmp_path / "far", f"{url}/")

    assert [(slide["slide"], slide["status"]) for slide in far] == [("1", "done"), ("m", "done"), ("v", "done")]
    assert [slide["status"] for slide in again] == ["skipped"] * 3
    for before in near:
        (name,) = (item for item in before["outputs"] if item.endswith(".tfrecords"))
        assert (tmp_path / "near" / name).read_bytes() == (tmp_path / "far" / name).read_bytes()
    assert list((tmp_path / "buffer").iterdir()) == []


def test_a_part_that_changed_makes_its_slide_again(put: Put, tmp_path: Path) -> None:
    folder = write_all(tmp_path / "x")
    url = put(folder)
    run(tmp_path / "out", f"{url}/")

    (folder / "m" / "Data0001.dat").write_bytes((folder / "m" / "Data0001.dat").read_bytes() + b"more")
    put(folder)

    assert [slide["status"] for slide in run(tmp_path / "out", f"{url}/")] == ["skipped", "done", "skipped"]


def test_a_server_that_lists_no_folders_gives_slides_whose_files_are_named(
    web: Any, put_web: Put, tmp_path: Path
) -> None:
    folder = write_all(tmp_path / "x")
    url = put_web(folder)
    web.has_pages = False

    for name in ("m.mrxs", "v.vms"):
        assert np.array_equal(pixels(f"{url}/{name}"), pixels(folder / name))
    with pytest.raises(
        sl.SlideError, match=r"1\.dcm: is one of several files of a slide: http.*index page of the folder, or copy"
    ):
        sl.open_slide(f"{url}/1.dcm")
    with pytest.raises(sl.ConfigError, match=r"no page of the folder \(404\).* or name each slide"):
        found(f"{url}/")
    assert found(f"{url}/1.dcm") == ["1"]
    assert copies() == []


def test_a_server_without_ranges_gives_slides_of_several_files(web: Any, put_web: Put, tmp_path: Path) -> None:
    folder = write_all(tmp_path / "x")
    url = put_web(folder)
    web.has_ranges = False

    assert found(f"{url}/") == ["1", "m", "v"]
    for name in ("1.dcm", "m.mrxs", "v.vms"):
        assert np.array_equal(pixels(f"{url}/{name}"), pixels(folder / name))


@pytest.mark.parametrize("has_pages", [True, False])
@pytest.mark.parametrize(
    ("name", "gone", "said"),
    [
        ("v.vms", "v(1,0).jpg", r"v\.vms: 1 of the files that it consists of are not there, such as .*v(\(|%28)1"),
        ("m.mrxs", "m/Index.dat", r"m\.mrxs: 1 of the files .* such as http.*/m/Index\.dat: copy"),
        ("m.mrxs", "m/Data0001.dat", r"m\.mrxs: 1 of the files .* such as http.*/m/Data0001\.dat: copy"),
    ],
)
def test_a_missing_part_is_named(
    web: Any, put_web: Put, tmp_path: Path, name: str, gone: str, said: str, has_pages: bool
) -> None:
    folder = write_all(tmp_path / "x")
    url = put_web(folder)
    web.has_pages = has_pages
    del web.files[f"x/{gone}"]

    with pytest.raises(sl.SlideError, match=said):
        sl.open_slide(f"{url}/{name}")
    assert copies() == []


def test_a_mirax_file_whose_folder_is_not_there_is_refused_as_on_a_disk(put: Put, tmp_path: Path) -> None:
    folder = write_all(tmp_path / "x")
    alone = tmp_path / "y"
    alone.mkdir()
    (folder / "m.mrxs").rename(alone / "m.mrxs")
    url = put(alone)

    with pytest.raises(sl.SlideError, match=r"m\.mrxs: its data folder m with Slidedat\.ini is not beside it"):
        sl.open_slide(f"{url}/m.mrxs")


def test_a_part_that_cannot_be_had_refuses_the_slide(web: Any, put_web: Put, tmp_path: Path) -> None:
    url = put_web(write_all(tmp_path / "x"))
    web.fault = lambda asked: asked.name == "x/m/Data0001.dat" and asked.answer(403, b"no")

    with pytest.raises(sl.SlideError, match=r"Data0001\.dat: .* 403 Forbidden"):
        sl.open_slide(f"{url}/m.mrxs")
    assert copies() == []


def test_a_head_that_cannot_be_had_ends_the_search_instead_of_splitting_the_series(
    web: Any, put_web: Put, tmp_path: Path
) -> None:
    url = put_web(write_series(tmp_path / "x").parent)
    web.fault = lambda asked: asked.name == "x/2.dcm" and asked.answer(403, b"no")

    with pytest.raises(sl.ConfigError, match=r"2\.dcm: .* 403 Forbidden"):
        found(f"{url}/")


def test_a_folder_below_that_cannot_be_listed_ends_the_search(web: Any, put_web: Put, tmp_path: Path) -> None:
    write_series(tmp_path / "x" / "p1")
    write_series(tmp_path / "x" / "p2", series="1.2.4")
    url = put_web(tmp_path / "x")
    web.fault = lambda asked: asked.name == "x/p2/" and asked.answer(403, b"no")

    for recursive in (False, True):
        with pytest.raises(sl.ConfigError, match=r"p2.*\(403\)"):
            found(f"{url}/", recursive=recursive)


@pytest.mark.parametrize("name", ["m.mrxs", "1.dcm"])
def test_parts_of_two_versions_are_never_opened_together(web: Any, put_web: Put, tmp_path: Path, name: str) -> None:
    """The file that is copied first is replaced while the others are."""
    url = put_web(write_all(tmp_path / "x"))
    last = {"m.mrxs": "x/m/Slidedat.ini", "1.dcm": "x/3.dcm"}[name]
    asked_for: list[str] = []

    def replacing(asked: Any) -> bool:
        asked_for.append(asked.name)
        if asked.name == last and asked.end - asked.start > 1 and f"x/{name}" in asked_for:
            web.etags[f"x/{name}"] = "replaced"
        return False

    web.fault = replacing

    with pytest.raises(sl.SlideError, match="changed while"):
        sl.open_slide(f"{url}/{name}")
    assert copies() == []


@pytest.mark.parametrize("own", ["..\\..\\evil.dcm", "C:\\evil.dcm", "\\evil.dcm"])
def test_a_name_that_no_file_can_have_refuses_the_folder(
    bucket: Any, put_bucket: Put, tmp_path: Path, own: str
) -> None:
    url = put_bucket(write_series(tmp_path / "x").parent)
    bucket.pipe(f"slides/x/{own}", b"evil")

    with pytest.raises(sl.ConfigError, match="which no file can be called on a disk; rename it"):
        found(f"{url}/")
    with pytest.raises(sl.SlideError, match="which no file can be called on a disk; rename it"):
        sl.open_slide(f"{url}/1.dcm")


@pytest.mark.parametrize("own", ["%2e%2e", "..%2Fevil.dcm", "%2Fetc%2Fpasswd"])
def test_a_page_with_a_name_that_leads_elsewhere_refuses_the_folder(
    web: Any, put_web: Put, tmp_path: Path, own: str
) -> None:
    url = put_web(write_series(tmp_path / "x").parent)
    page = f'<title>Index of /x</title><a href="1.dcm">1</a><a href="{own}">evil</a>'.encode()
    web.fault = lambda asked: asked.name == "x/" and asked.answer(200, page, Content_Type="text/html")

    with pytest.raises(sl.ConfigError, match="which no file can be called; rename it"):
        found(f"{url}/")


def test_heads_of_a_folder_are_read_once_however_many_of_its_slides_are_opened(
    web: Any, put_web: Put, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        names = (f"{number}1.dcm", f"{number}2.dcm", f"{number}3.dcm")
        write_series(tmp_path / "x", names=names, series=f"1.2.840.{number}")
    url = put_web(tmp_path / "x")

    assert found(f"{url}/") == ["11", "21", "31"]
    for name in ("11.dcm", "21.dcm", "31.dcm"):
        assert np.array_equal(pixels(f"{url}/{name}"), PICTURE)
    heads = [asked.name for asked in web.asked if (asked.start, asked.end) == (0, 1 << 12)]
    assert sorted(heads) == sorted(f"x/{file.name}" for file in (tmp_path / "x").iterdir())


@pytest.mark.parametrize("folder", ["Series (1)", "a,b", "it's", "a+b", "100%", "a&b", "ä"])
@pytest.mark.parametrize("start", ["", "https://127.0.0.1"])
def test_a_page_whose_links_are_quoted_otherwise_lists_its_files(
    web: Any, put_web: Put, tmp_path: Path, folder: str, start: str
) -> None:
    def paged(asked: Any) -> bool:
        if not asked.name.endswith("/"):
            return False
        home = f"{start}/{asked.name}"
        items = {"x/": [f"{folder}/"], f"x/{folder}/": ["1.dcm", "2.dcm", "3.dcm"]}[asked.name]
        links = "".join(f'<a href="{quote(home + item, safe="/:!$&()*+,;=")}">{item}</a>' for item in items)
        page = f"<title>Index of {asked.name}</title>{links}"
        return bool(asked.answer(200, page.encode(), Content_Type="text/html; charset=utf-8"))

    write_series(tmp_path / "near" / folder)
    web.fault = paged

    assert found(put_web(tmp_path / "near")) == found(tmp_path / "near")


def test_a_page_that_lacks_the_named_file_tells_nothing(web: Any, put_web: Put, tmp_path: Path) -> None:
    url = put_web(write_series(tmp_path / "x").parent)
    page = b'<title>Index of /x</title><a href="2.dcm">2</a>'
    web.fault = lambda asked: asked.name == "x/" and asked.answer(200, page, Content_Type="text/html")

    with pytest.raises(sl.SlideError, match=r"its list of files lacks 1\.dcm"):
        sl.open_slide(f"{url}/1.dcm")


@pytest.mark.parametrize("page", [b"<title>Log in</title><a href='/login'>here</a>", b"nothing"])
def test_a_page_that_lists_no_files_is_no_empty_folder(web: Any, put_web: Put, tmp_path: Path, page: bytes) -> None:
    url = put_web(write_series(tmp_path / "x").parent)
    web.fault = lambda asked: asked.name == "x/" and asked.answer(200, page, Content_Type="text/html")

    with pytest.raises(sl.SlideError, match="links to none of its files"):
        sl.open_slide(f"{url}/1.dcm")


def test_other_file_systems_of_fsspec_are_looked_at_alike(tmp_path: Path) -> None:
    folder = write_all(tmp_path / "x")
    memory = fsspec.filesystem("memory")
    for file in folder.rglob("*"):
        if file.is_file():
            memory.pipe(f"/x/{file.relative_to(folder).as_posix()}", file.read_bytes())
    try:
        assert found("memory://x/") == ["1", "m", "v"]
        for name in ("1.dcm", "m.mrxs", "v.vms"):
            assert np.array_equal(pixels(f"memory://x/{name}"), pixels(folder / name))
    finally:
        memory.rm("/x", recursive=True)


def test_a_dicom_file_that_is_called_as_another_slide_is_opened_with_its_series(put: Put, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "x", names=("1.tif", "2.tif", "3.tif")).parent

    with sl.open_slide(f"{put(folder)}/1.tif") as far, sl.open_slide(folder / "1.tif") as near:
        assert far.info.levels == near.info.levels
        assert len(near.info.levels) == 2


LEAF = """
from slideloom import Format, hookimpl

class Leaf(Format):
    name = "Leaf"
    extensions = (".leaf",)

    def parts(self, path):
        return [path.parent / name for name in path.read_text().split()] if path.suffix == ".leaf" else []

@hookimpl
def slideloom_slide_formats():
    return [Leaf()]
"""


def test_a_format_that_knows_paths_only_gets_its_parts_after_the_first_file(
    web: Any, tmp_path: Path, install_plugin: Callable[..., None]
) -> None:
    install_plugin("leaf_plugin", LEAF)
    web.put("x/a.leaf", b"a.part more/b.part")
    web.put("x/a.part", b"one")
    copied: dict[str, bytes] = {}

    def look(asked: Any) -> bool:
        for file in copies():
            copied[file.name] = file.read_bytes() if file.is_file() else b""
        return False

    with pytest.raises(sl.SlideError, match=r"a\.leaf: 1 of the files .* not there, such as .*more/b\.part"):
        sl.open_slide(web.url("x/a.leaf"))

    web.put("x/more/b.part", b"two")
    web.fault = look
    with pytest.raises(sl.UnsupportedSlide, match=r"a\.leaf: no reader recognises it"):
        sl.open_slide(web.url("x/a.leaf"))
    assert copied["a.part"] == b"one"
    assert copies() == []


def test_a_part_outside_the_slides_folder_is_refused(web: Any, install_plugin: Callable[..., None]) -> None:
    install_plugin("leaf_plugin", LEAF)
    for name in ("../evil.part", "/etc/evil.part"):
        web.put("x/a.leaf", name.encode())
        with pytest.raises(sl.SlideError, match=r"a\.leaf: .*evil\.part"):
            sl.open_slide(web.url("x/a.leaf"))
    assert copies() == []
