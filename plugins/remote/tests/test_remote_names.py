"""Slides that are named at addresses, in whichever way: each is one slide once, or it is told."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
import slideloom as sl
from fsspec.implementations.memory import MemoryFileSystem
from slideloom_testing.dicom import Instance, write_dicom
from slideloom_testing.several_files import write_vms

PICTURE = np.full((256, 512, 3), 200, np.uint8)
PICTURES = PICTURE, PICTURE[::2, ::2], PICTURE[:64, :64]
NAMES = ("1.tif", "2.tif", "3.tif")
Put = Callable[[Path], str]


def write_series(folder: Path, *, names: tuple[str, ...] = NAMES, series: str = "1.2.3") -> Path:
    """A DICOM slide: a level, the same made smaller, and a label."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, rgb, kind) in enumerate(zip(names, PICTURES, ("VOLUME", "VOLUME", "LABEL"), strict=True), 1):
        write_dicom(folder / name, rgb, Instance(series=series, number=number, kind=kind))
    return folder / names[0]


def found(*places: str | Path, **options: Any) -> list[str]:
    return [slide.name for slide in sl.named_slides([str(place) for place in places], **options)]


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """A folder with one DICOM slide, whose files are called as TIFFs, and with a file that is no part of it."""
    folder = write_series(tmp_path / "x").parent
    (folder / "other.svs").write_bytes(b"no DICOM")
    return folder


def test_named_files_of_a_series_are_one_slide_whatever_they_are_called(put: Put, series: Path) -> None:
    url = put(series)

    assert found(f"{url}/1.tif", f"{url}/2.tif") == found(series / "1.tif", series / "2.tif") == ["1"]
    assert found(f"{url}/3.tif", f"{url}/2.tif", f"{url}/other.svs") == ["1", "other"]


def test_a_script_that_names_two_files_of_a_series_gets_one_slide(put: Put, series: Path, tmp_path: Path) -> None:
    url = put(series)
    table = {"slideloom": 1, "tiles": {"size_px": 64, "size_um": 32}, "filter": []}
    chosen = sl.pipeline_from_table(table, where="test")

    first, second = sl.run_pipeline(chosen, [f"{url}/1.tif", f"{url}/2.tif"], tmp_path / "out", dry_run=True).slides

    assert (first.slide, first.status, second.status) == ("1", "done", "failed")
    assert second.error.endswith(f"/2.tif: is the same slide as {url}/1.tif, and would be there twice; leave one out")


def test_a_named_file_is_no_other_slide_than_its_folder_or_a_pattern_finds(
    put: Put, put_bucket: Put, tmp_path: Path
) -> None:
    folder = write_series(tmp_path / "x", names=("1.tif", "2.dcm", "3.tif")).parent
    url = put(folder)
    home = url.removesuffix("x")

    assert found(f"{url}/3.tif", f"{url}/2.dcm") == ["1"]
    assert found(f"{url}/3.tif", f"{url}/") == found(f"{url}/", f"{url}/3.tif") == ["1"]
    assert found(home, f"{url}/3.tif") == ["1"]
    assert found(home, f"{url}/3.tif", recursive=True) == ["x/1"]
    if url.startswith("s3:"):
        assert found(f"{url}/*.dcm", f"{url}/3.tif") == found(f"{url}/3.tif", "s3://slides/**/2.*") == ["1"]


def test_a_named_file_is_no_other_slide_than_its_folder_without_a_slash_finds(put: Put, series: Path) -> None:
    url = put(series)

    assert found(url, f"{url}/2.tif") == found(f"{url}/2.tif", url) == found(series, series / "2.tif")


def test_an_address_is_the_same_with_dots_and_by_either_name_of_its_store(put: Put, series: Path) -> None:
    url = put(series)
    scheme, _, rest = url.partition("://")
    others = {"s3": (f"s3a://{rest}", f"S3://{rest}")}
    web_too = (f"{url}/../x", f"{url}/.", f"HTTP://{rest}")

    for other in others.get(scheme, web_too):
        assert found(f"{url}/2.tif", f"{other}/1.tif") == found(f"{other}/2.tif", f"{url}/1.tif") == ["1"]


def test_a_folder_that_is_called_as_a_pattern_is_meant_as_it_is_written(put_bucket: Put, tmp_path: Path) -> None:
    for name in ("run[1]/a.svs", "run1/b.svs"):
        (path := tmp_path / "x" / name).parent.mkdir(parents=True)
        path.write_bytes(b"no DICOM")
    url = put_bucket(tmp_path / "x")

    assert found(f"{url}/run[1]/") == found(f"{url}/run[1]/*.svs") == ["a"]
    assert found(f"{url}/run[1]*/*.svs") == ["b"]
    assert found(f"{url}/run[12]/*.svs") == ["b"]


def test_in_memory_files_of_a_series_are_one_slide(series: Path) -> None:
    memory = fsspec.filesystem("memory")
    for file in series.iterdir():
        memory.pipe(f"/x/{file.name}", file.read_bytes())
    try:
        assert found("memory://x/1.tif", "memory://x/2.tif") == ["1"]
    finally:
        memory.rm("/x", recursive=True)


def test_files_alone_in_their_folders_are_not_asked_for(web: Any) -> None:
    names = ["a/1.tif", "b/2.tif", "b/deeper/3.svs"]

    assert found(*(web.url(name) for name in (*names, "a/1.tif"))) == ["1", "2", "3"]
    assert web.asked == []


def test_files_that_share_a_folder_are_asked_for_twice_each_and_several_at_a_time(web: Any) -> None:
    """Once for the size, and once for the head; nobody is answered before eight have asked."""
    urls = [web.put(f"a/{number}.tif", b"no DICOM" * 1000) for number in range(40)]
    together = threading.Barrier(8)

    def waiting(asked: Any) -> bool:
        if asked.end == 1:  # for the size
            together.wait()
        return False

    web.fault = waiting

    assert len(found(*urls)) == 40
    assert sorted(asked.name for asked in web.asked) == sorted(2 * [f"a/{number}.tif" for number in range(40)])


def test_an_address_is_the_same_however_it_is_quoted(web: Any, put_web: Put, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "x" / "a b", names=("1 (x).tif", "2 (x).tif", "3.tif")).parent
    (folder / "c d.svs").write_bytes(b"no DICOM")
    url = put_web(tmp_path / "x")

    assert found(f"{url}/a%20b/c%20d.svs", f"{url}/a b/c d.svs", f"{url}/%61%20b/c%20d%2Esvs") == ["c d"]
    assert found(f"{url}/a%20b/1%20%28x%29.tif", f"{url}/a b/2 (x).tif") == ["1 (x)"]
    below = found(f"{url}/", f"{url}/a%20b/c%20d%2Esvs", recursive=True)
    assert below == found(tmp_path / "x", recursive=True) == ["a b/1 (x)", "a b/c d"]


def test_pictures_of_a_slide_are_part_of_it_however_they_are_quoted(put_web: Put, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    write_vms(tmp_path / "x" / "v.vms", PICTURE)
    url = put_web(tmp_path / "x")

    assert found(f"{url}/v(1,0).jpg", f"{url}/v.vms") == found(f"{url}/v.vms", f"{url}/v%281%2C0%29.jpg") == ["v"]


def test_addresses_that_differ_behind_their_question_mark_are_different_files(web: Any) -> None:
    """The second of them was lost: a server may choose the file by what stands there."""
    places = sl.find_slides([web.url("get?id=1"), web.url("get?id=2"), web.url("get?id=1")])

    assert places == [sl.Address(web.url("get?id=1")), sl.Address(web.url("get?id=2"))]
    assert found(web.url("h%231.svs"), web.url("h#1.svs"), web.url("h?1.svs")) == ["h#1", "h", "h"]


def test_a_named_file_that_cannot_be_looked_into_is_told(
    put_web: Put, series: Path, web: Any, caplog: pytest.LogCaptureFixture
) -> None:
    url = put_web(series)
    web.fault = lambda asked: asked.name == "x/2.tif" and asked.answer(403, b"no")

    assert found(f"{url}/2.tif", f"{url}/other.svs") == ["2", "other"]
    assert re.search(r"2\.tif: .* 403 Forbidden.*; it is taken for a slide of its own", caplog.text)


def test_a_file_that_is_called_as_a_pattern_is_that_file(bucket: Any) -> None:
    """`a[1].tif` gave the slide a1."""
    for name in ("a[1].tif", "a1.tif", "b*.tif", "bcd.tif", "c1.tif"):
        bucket.call_s3("put_object", Bucket="slides", Key=f"x/{name}", Body=b"no DICOM")

    assert found("s3://slides/x/a[1].tif") == ["a[1]"]
    assert found("s3://slides/x/b*.tif") == ["b*"]
    assert found("s3://slides/x/c[1].tif") == ["c1"]
    assert found("s3://slides/x/[ab]*.tif") == ["a1", "a[1]", "b*", "bcd"]


ODD = ["h#1", "q?x", "q?v=1", "p%20c", "s p", "ü", "a", "A", "co:lon", "plus+x", "am&p=1", "pct%", "st*r", "br[1]"]


def test_a_folder_of_odd_names_gives_each_once_and_each_can_be_named_and_left_out(bucket: Any) -> None:
    for number, name in enumerate(ODD):
        bucket.call_s3("put_object", Bucket="slides", Key=f"x/{name}.tif", Body=b"%d" % number)
    for name in ("x/", "x/a/", "x/mark.tif/", "x/.hidden.tif"):  # three of these stand for folders
        bucket.call_s3("put_object", Bucket="slides", Key=name, Body=b"")
    urls = [f"s3://slides/x/{name}.tif" for name in ODD]

    assert sorted(found("s3://slides/x/")) == sorted(ODD) == sorted(found("s3://slides/x/*.tif"))
    assert sorted(found("s3://slides/x/", recursive=True)) == sorted(ODD)
    assert found(*urls) == ODD
    assert [found(url) for url in urls] == [[name] for name in ODD]
    assert found(urls[1], urls[2], urls[6], exclude=["s3://slides/x/q*.tif"]) == ["a"]
    with pytest.raises(sl.SlideError, match="it is a folder"):
        sl.open_slide("s3://slides/x/mark.tif")


def test_a_folder_of_more_files_than_one_answer_lists_gives_each_once(bucket: Any) -> None:
    """S3 gives 1,000 names at a time; a slide stands on each page."""
    names = ["0.svs", *(f"1{number:03}.txt" for number in range(1000)), "2.svs"]
    bucket.pipe({f"slides/x/{name}": b"1" for name in names})

    assert found("s3://slides/x/") == found("s3://slides/x/*.svs") == ["0", "2"]
    assert found("s3://slides/", recursive=True) == ["x/0", "x/2"]


@pytest.mark.parametrize("recursive", [False, True])
def test_a_folder_without_a_name_refuses_the_folder_it_lies_in(bucket: Any, recursive: bool) -> None:
    """What lay there was lost, or taken for what lies beside it."""
    for name in ("x/", "x/a.tif", "x//b.tif"):
        bucket.call_s3("put_object", Bucket="slides", Key=name, Body=b"1")

    with pytest.raises(sl.ConfigError, match=r"a folder without a name, as in 'a//b'; rename what lies there\)$"):
        found("s3://slides/x/", recursive=recursive)
    with pytest.raises(sl.ConfigError, match="ends with two slashes, which in a bucket is another folder; give one"):
        found("s3://slides/x//", recursive=recursive)
    assert found("s3://slides/x//b.tif") == ["b"]


class Counted(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Counts the folders that are listed."""

    protocol = "counted"
    listed: ClassVar[list[str]] = []

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("counted://", "memory://")))

    def ls(self, path: str, *words: Any, **options: Any) -> Any:
        self.listed.append(path)
        return super().ls(path, *words, **options)


def test_what_a_pattern_finds_is_not_asked_for_as_a_folder() -> None:
    fsspec.register_implementation("counted", Counted, clobber=True)
    for number in range(5):
        fsspec.filesystem("memory").pipe(f"/x/{number}.tif", b"no DICOM")
    Counted.listed.clear()
    try:
        assert found("counted://x/*.tif") == ["0", "1", "2", "3", "4"]
        assert not [path for path in Counted.listed if ".tif" in path]
    finally:
        fsspec.filesystem("memory").rm("/x", recursive=True)
