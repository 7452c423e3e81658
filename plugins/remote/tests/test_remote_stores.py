"""Slides in a bucket of an S3 server, and in other file systems of fsspec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import slideloom as sl
from slideloom.base.parsing import parse_json
from slideloom_cli.main import main
from slideloom_remote.opening import open_remote_file


def _pixels(place: Path | str) -> Any:
    with sl.WSI(place, 128, 64) as wsi:
        return np.stack([tile.rgb for tile in wsi])


def test_a_slide_in_a_bucket_has_the_pixels_of_the_local_one(bucket: Any, slide: Path) -> None:
    bucket.pipe("slides/folder/a.tif", slide.read_bytes())

    assert np.array_equal(_pixels(slide), _pixels("s3://slides/folder/a.tif"))


def test_a_folder_and_a_pattern_stand_for_the_slides_in_them(bucket: Any) -> None:
    for name in ("x/b.svs", "x/a.svs", "x/notes.txt", "x/.hidden.svs", "x/y/c.svs", "z.svs"):
        bucket.pipe(f"slides/{name}", b"1")

    def found(*include: str, **options: Any) -> list[str]:
        return [str(path) for path in sl.find_slides(include, **options)]

    assert found("s3://slides/x/") == ["s3://slides/x/a.svs", "s3://slides/x/b.svs"]
    assert found("s3://slides/*/*.svs") == ["s3://slides/x/a.svs", "s3://slides/x/b.svs"]
    assert found("s3://slides/**/c.svs") == ["s3://slides/x/y/c.svs"]
    assert found("s3://slides/x/", exclude=["b.*"]) == ["s3://slides/x/a.svs"]
    assert found("s3://slides/x/", exclude=["s3://slides/x/a*"]) == ["s3://slides/x/b.svs"]


def test_slides_below_a_folder_of_a_bucket_are_named_by_their_folders(bucket: Any) -> None:
    for name in ("b.svs", "lab1/a.svs", "lab2/deep/a.svs", "lab2/.hidden/c.svs", "lab2/notes.txt"):
        bucket.pipe(f"slides/x/{name}", b"1")
    for name in ("extraction_report.json", "tiles/d.png"):
        bucket.pipe(f"slides/x/out/{name}", b"1")

    found = sl.named_slides(["s3://slides/x/"], recursive=True)

    assert {slide.name: str(slide.place) for slide in found} == {
        "b": "s3://slides/x/b.svs",
        "lab1/a": "s3://slides/x/lab1/a.svs",
        "lab2/deep/a": "s3://slides/x/lab2/deep/a.svs",
    }
    assert [slide.name for slide in found if slide.shares_name] == ["lab1/a", "lab2/deep/a"]


def test_regions_in_folders_of_a_bucket_are_those_of_the_slides_there(bucket: Any, slide: Path, tmp_path: Path) -> None:
    for lab in ("lab1", "lab2"):
        bucket.pipe(f"slides/x/{lab}/a.tif", slide.read_bytes())
    bucket.pipe("slides/roi/lab2/a.csv", SQUARE.encode())
    words = ["--tile-px", "128", "--tile-um", "64", "--filter", "none", "--recursive", "--roi", "s3://slides/roi/"]

    assert main(["extract", "s3://slides/x/", "--out", str(tmp_path), *words]) == 0

    rois = {
        one["slide"]: one["rois"] for one in parse_json((tmp_path / "extraction_report.json").read_text())["slides"]
    }
    assert rois == {"lab1/a": 0, "lab2/a": 1}


def test_a_folder_without_slides_or_without_a_bucket_is_an_error(bucket: Any) -> None:
    bucket.pipe("slides/x/notes.txt", b"1")

    with pytest.raises(sl.ConfigError, match="holds no slide"):
        sl.find_slides(["s3://slides/x/"])
    with pytest.raises(sl.ConfigError, match="cannot be listed"):
        sl.find_slides(["s3://no-such-bucket/x/"])
    with pytest.raises(sl.ConfigError, match="matches no file"):
        sl.find_slides(["s3://slides/*.svs"])


def test_an_object_that_is_replaced_while_it_is_read_ends_the_slide(bucket: Any) -> None:
    bucket.pipe("slides/a.bin", bytes(1 << 20))
    file = open_remote_file(sl.Address("s3://slides/a.bin"))
    assert file.read(500_000, 10) == bytes(10)

    bucket.pipe("slides/a.bin", b"x" * (1 << 20))

    with pytest.raises(sl.SlideError, match=r"a\.bin: changed while it was read"):
        file.read_pieces([(100, 200)])


@pytest.mark.parametrize(("size", "requests"), [(0, 0), (1000, 0), (1 << 16, 0), ((1 << 16) + 1, 1), (200_000, 1)])
def test_the_head_of_an_object_comes_with_its_size_and_is_not_asked_for_again(
    bucket: Any, tmp_path: Path, size: int, requests: int
) -> None:
    content = np.random.default_rng(1).bytes(size)
    bucket.pipe("slides/a.bin", content)

    with open_remote_file(sl.Address("s3://slides/a.bin")) as file:
        assert file.size == size
        assert file.read(0, min(size, 100)) == content[:100]
        file.copy_to(tmp_path / "a.bin")
        assert file.requests == requests

    assert (tmp_path / "a.bin").read_bytes() == content


def test_a_missing_object_and_a_folder_are_refused_by_name(bucket: Any) -> None:
    bucket.pipe("slides/x/a.svs", b"1")

    with pytest.raises(sl.SlideError, match=r"gone\.svs: cannot be read from s3://slides/gone\.svs: there is no such"):
        sl.open_slide("s3://slides/gone.svs")
    with pytest.raises(sl.SlideError, match=r"x: cannot be read .*end its address with a slash"):
        sl.open_slide("s3://slides/x")


def test_a_run_of_a_bucket_is_resumed_and_tells_no_credentials(
    bucket: Any, slide: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bucket.pipe("slides/x/a.tif", slide.read_bytes())
    out, log = tmp_path / "out", tmp_path / "run.jsonl"
    words = ["--out", str(out), "--tile-px", "128", "--tile-um", "64", "--filter", "none", "--log", str(log), "--debug"]

    assert main(["extract", "s3://slides/x/", *words]) == 0
    assert main(["extract", "s3://slides/x/", *words]) == 0

    said = "".join(capfd.readouterr())
    files = [path for path in [*out.rglob("*"), log] if path.is_file()]
    everything = said + "".join(path.read_bytes().decode("latin-1") for path in files)
    assert '"skipped"' in everything
    assert "s3://slides/x/a.tif" in everything
    assert [word for word in ("AKIA-somebody", "secret-of-somebody") if word in everything] == []


def test_any_file_system_of_fsspec_is_read(slide: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/x/a.tif", slide.read_bytes())
    try:
        assert np.array_equal(_pixels(slide), _pixels("memory://x/a.tif"))
        assert [str(path) for path in sl.find_slides(["memory://x/"])] == ["memory://x/a.tif"]
    finally:
        memory.rm("/x", recursive=True)


def test_a_file_that_another_file_system_replaces_ends_the_slide() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/x/a.bin", bytes(1 << 20))
    try:
        file = open_remote_file(sl.Address("memory://x/a.bin"))
        memory.pipe("/x/a.bin", bytes(1 << 19))

        with pytest.raises(sl.SlideError, match=r"a\.bin: changed while it was read"):
            file.read_pieces([(100, 200)])
    finally:
        memory.rm("/x", recursive=True)


def test_the_address_of_a_local_file_is_its_path(slide: Path) -> None:
    assert sl.find_slides([slide.as_uri()]) == [slide]


def test_an_unknown_kind_of_address_is_refused_with_its_name() -> None:
    with pytest.raises(sl.SlideError, match="fsspec knows no file system nosuch"):
        sl.open_slide("nosuch://bucket/a.svs")


def test_a_slide_of_several_files_is_refused_and_not_shown_in_part(bucket: Any) -> None:
    from io import BytesIO

    from PIL import Image

    content = BytesIO()
    Image.new("RGB", (500, 400), "pink").save(content, "JPEG")
    bucket.pipe("slides/a.mrxs", content.getvalue())

    with pytest.raises(sl.SlideError, match=r"a\.mrxs: its data folder a with Slidedat\.ini is not beside it"):
        sl.open_slide("s3://slides/a.mrxs")


CORNERS = ((0, 0), (512, 0), (512, 512), (0, 512))
SQUARE = "ROI_Name,X_base,Y_base,label\n" + "".join(f"r,{x},{y},tumour\n" for x, y in CORNERS)


@pytest.mark.parametrize("roi", ["s3://slides/roi/", "s3://slides/roi", "s3://slides/roi/a.csv"])
def test_regions_of_a_bucket_choose_the_tiles_of_the_local_ones(
    bucket: Any, slide: Path, tmp_path: Path, roi: str
) -> None:
    folder = tmp_path / "roi"
    folder.mkdir()
    (folder / "a.csv").write_text(SQUARE)
    bucket.pipe("slides/roi/a.csv", SQUARE.encode())
    bucket.pipe("slides/roi/b.csv", b"of another slide, and no regions at all")

    with sl.WSI(slide, 128, 64, roi=folder) as near, sl.WSI(slide, 128, 64, roi=roi) as far:
        assert len(near) == 16
        assert np.array_equal(near.tiles.x, far.tiles.x)
        assert far.regions.source == "s3://slides/roi/a.csv"


def test_regions_that_changed_make_the_slide_again(bucket: Any, slide: Path, tmp_path: Path) -> None:
    words = ["--out", str(tmp_path / "out"), "--tile-px", "128", "--tile-um", "64", "--filter", "none"]
    command = ["extract", str(slide), *words, "--roi", "s3://slides/roi/"]
    counts = []
    for content in (SQUARE, SQUARE, SQUARE.replace("512", "256")):
        bucket.pipe("slides/roi/a.csv", content.encode())
        assert main(command) == 0
        (report,) = parse_json((tmp_path / "out" / "extraction_report.json").read_bytes())["slides"]
        counts.append((report["status"], report["written"]))

    assert counts == [("done", 16), ("skipped", 16), ("done", 4)]


def test_a_region_file_that_cannot_be_read_is_named_by_its_address(bucket: Any, slide: Path) -> None:
    bucket.pipe("slides/roi/a.csv", b"ROI_Name,X_base,Y_base\nr,0,zero\n")

    with pytest.raises(sl.RoiError, match=r"s3:/+slides/roi/a\.csv"):
        sl.WSI(slide, 128, 64, roi="s3://slides/roi/")
    with pytest.raises(sl.ConfigError, match="cannot be listed"):
        sl.WSI(slide, 128, 64, roi="s3://slides/nothing/")


def test_an_older_version_of_an_object_is_never_taken_for_the_present_one(bucket: Any, slide: Path) -> None:
    bucket.put(str(slide), "slides/a.tif")
    asked = "s3://slides/a.tif?versionId=older"

    with pytest.raises(sl.SlideError, match="stands for another object; copy it to a plain name"):
        sl.open_slide(asked)
