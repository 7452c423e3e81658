"""OME-Zarr slides of known pixels: every order of axes, both formats, shards, ZIP files, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from slideloom import (
    Point,
    Rgb,
    Size,
    SlideError,
    Slides,
    find_slides,
    open_slide,
    pipeline_from_table,
    run_pipeline,
    slide_name,
)
from slideloom_testing.contracts import ReaderContract
from slideloom_zarr import OmeZarrReader
from zarr.codecs import BloscCodec

Array = NDArray[Any]
CHUNK = 64


def picture(width: int = 300, height: int = 200) -> Rgb:
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1)
    return (smooth * 0.8 + np.random.default_rng(7).integers(1, 50, smooth.shape)).astype(np.uint8)


def write(
    path: Path,
    images: list[Array] | None = None,
    *,
    version: str = "0.5",
    axes: str = "cyx",
    chunk_channels: int = 1,
    group: str = "",
    unit: str | None = "micrometer",
    fill: int = 0,
    scale: float = 0.5,
    labels: list[str] | None = None,
    **options: Any,
) -> Path:
    """Write a multiscale.

    Args:
        path: of the folder.
        images: levels as (h, w, channels).
        version: "0.4" is Zarr 2, "0.5" is Zarr 3.
        axes: in their order; t and z have one value.
        chunk_channels: channels in a chunk.
        group: within the folder.
        unit: of x and y.
        fill: fill value.
        scale: microns per pixel of level 0.
        labels: names of channels.
        options: of `create_array`.
    """
    levels = images or [picture(), np.ascontiguousarray(picture()[::2, ::2])]
    kind = 2 if version == "0.4" else 3
    root = zarr.open_group(path, mode="a", zarr_format=kind)
    home = root.require_group(group) if group else root
    for number, image in enumerate(levels):
        order = [{"y": 0, "x": 1, "c": 2}[axis] for axis in axes if axis in "yxc"]
        values = image if "c" in axes else image[..., 0]
        values = np.transpose(values, order)
        for place, axis in enumerate(axes):
            if axis in "tz":
                values = np.expand_dims(values, place)
        sides = {"t": 1, "z": 1, "c": min(chunk_channels, image.shape[2]), "y": CHUNK, "x": CHUNK}
        more = {"chunk_key_encoding": {"name": "v2", "separator": "/"}} if kind == 2 else {}
        array = home.create_array(
            str(number),
            shape=values.shape,
            chunks=tuple(sides[axis] for axis in axes),
            dtype=values.dtype,
            fill_value=fill,
            **more,
            **options,
        )
        array[...] = values
    types = {"t": "time", "z": "space", "c": "channel", "y": "space", "x": "space"}
    described = {
        "axes": [
            {"name": axis, "type": types[axis], **({"unit": unit} if unit and axis in "yx" else {})} for axis in axes
        ],
        "datasets": [
            {
                "path": str(number),
                "coordinateTransformations": [
                    {"type": "scale", "scale": [scale * 2**number if axis in "yx" else 1.0 for axis in axes]}
                ],
            }
            for number in range(len(levels))
        ],
    }
    said: dict[str, Any] = {"multiscales": [described]}
    if labels is not None:
        said["omero"] = {"channels": [{"label": label} for label in labels]}
    home.attrs.update(said if kind == 2 else {"ome": {"version": "0.5", **said}})
    return path


def pixels(path: Path, reader: str | None = None, level: int = 0) -> Rgb:
    with open_slide(path, slides=Slides(reader=reader), mpp=0.5) as slide:
        assert slide.info.reader == "ome-zarr"
        return slide.read(Point(0, 0), level, slide.info.levels[level].size)


class TestOmeZarrReaderContract(ReaderContract):
    settings = OmeZarrReader()

    @pytest.fixture(autouse=True)
    def _slide(self, tmp_path: Path) -> None:
        self.slide_path = write(tmp_path / "a.ome.zarr")


class TestZippedOmeZarrContract(ReaderContract):
    settings = OmeZarrReader()

    @pytest.fixture(autouse=True)
    def _slide(self, tmp_path: Path) -> None:
        self.slide_path = zipped(write(tmp_path / "b.ome.zarr"))


def zipped(path: Path) -> Path:
    return Path(shutil.make_archive(str(path), "zip", path))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["cyx", "yxc", "xyc", "tczyx", "tzyxc", "zcyx"])
@pytest.mark.parametrize("chunk_channels", [1, 3])
def test_rgb_comes_out_as_it_was_written_whatever_the_axes(
    tmp_path: Path, version: str, axes: str, chunk_channels: int
) -> None:
    path = write(tmp_path / "a.ome.zarr", version=version, axes=axes, chunk_channels=chunk_channels)

    assert np.array_equal(pixels(path), picture())
    assert np.array_equal(pixels(path, level=1), picture()[::2, ::2])


def test_shards_and_zip_files_hold_the_same_pixels(tmp_path: Path) -> None:
    shards = write(tmp_path / "s.zarr", [picture()], shards=(3, 128, 128))

    assert np.array_equal(pixels(shards), picture())
    assert np.array_equal(pixels(zipped(write(tmp_path / "a.ome.zarr"))), picture())


@pytest.mark.parametrize(
    ("unit", "scale"), [("micrometer", 0.25), ("nanometer", 250), ("millimeter", 0.00025), ("µm", 0.25)]
)
def test_mpp_is_the_scale_in_its_unit(tmp_path: Path, unit: str, scale: float) -> None:
    with open_slide(write(tmp_path / "a.ome.zarr", unit=unit, scale=scale)) as slide:
        assert slide.info.name == "a"
        assert slide.info.mpp is not None
        assert (slide.info.mpp.x, slide.info.mpp.y) == (pytest.approx(0.25), pytest.approx(0.25))
        assert slide.info.mpp.source == "OME-Zarr scale"


def test_a_scale_without_a_unit_is_shown_as_found(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"OME-Zarr scale, x = 0\.5 of no unit"):
        open_slide(write(tmp_path / "a.zarr", unit=None))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": ["DAPI", "FITC", "Cy5"]}, r"3 channels \(DAPI, FITC, Cy5\), not .*channel=0.*rgb=true"),
        ({"images": [np.zeros((80, 80, 2), np.uint8)]}, r"2 channels, not an RGB picture"),
        ({"images": [np.zeros((80, 80, 3), np.float32)]}, r"its samples are float32"),
        ({"images": [np.zeros((80, 80, 3), np.int16)]}, r"its samples are int16"),
    ],
)  # fmt: skip
def test_what_is_no_rgb_picture_is_refused_by_what_it_holds(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(SlideError, match=rf"a\.zarr: .*{words}"):
        open_slide(write(tmp_path / "a.zarr", **options))


def test_a_channel_can_be_chosen_and_three_can_be_said_to_be_colours(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", labels=["DAPI", "FITC", "Cy5"])

    assert np.array_equal(pixels(path, "ome-zarr:channel=1"), np.repeat(picture()[..., 1:2], 3, axis=-1))
    assert np.array_equal(pixels(path, "ome-zarr:rgb=true"), picture())
    with pytest.raises(SlideError, match="has no channel 3; it has 3, from 0"):
        open_slide(path, slides=Slides(reader="ome-zarr:channel=3"))


def test_one_of_several_focal_planes_can_be_chosen(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zarr", axes="czyx")
    planes = np.stack([picture(), 255 - picture()])
    array = zarr.open_group(path, mode="a").create_array(
        "0", shape=(3, 2, 200, 300), chunks=(1, 1, 64, 64), dtype="u1", overwrite=True
    )
    array[...] = np.transpose(planes, (3, 0, 1, 2))

    with pytest.raises(SlideError, match=r"a\.zarr: holds 2 focal planes; choose one: reader='ome-zarr:plane=0'"):
        open_slide(path)
    assert np.array_equal(pixels(path, "ome-zarr:plane=1"), 255 - picture())


def test_16_bits_are_scaled_and_dark_ones_are_refused(tmp_path: Path) -> None:
    image = np.random.default_rng(3).integers(0, 65536, (200, 300, 3)).astype(np.uint16)
    dark = image >> 4

    assert np.array_equal(pixels(write(tmp_path / "a.zarr", [image])), np.round(image / 257).astype(np.uint8))
    path = write(tmp_path / "dark.zarr", [dark])
    with pytest.raises(SlideError, match=r"reach only 4095 of 65535.*high=4095"):
        open_slide(path)
    assert pixels(path, "ome-zarr:high=4095").max() == 255


def scenes(path: Path, names: list[str]) -> Path:
    """Images in numbered groups, as bioformats2raw writes them."""
    root = zarr.open_group(path, mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    for number in range(len(names)):
        write(path, [picture() // (number + 1)], version="0.4", group=str(number))
    (path / "OME").mkdir()
    images = "".join(f'<Image ID="Image:{number}" Name="{name}"/>' for number, name in enumerate(names))
    (path / "OME" / "METADATA.ome.xml").write_text(
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{images}</OME>'
    )
    return path


def test_label_and_macro_images_are_no_slides(tmp_path: Path) -> None:
    path = scenes(tmp_path / "a.zarr", ["scan 1", "label image", "macro image"])

    assert np.array_equal(pixels(path), picture())


def test_several_scenes_are_refused_by_name_and_one_can_be_chosen(tmp_path: Path) -> None:
    path = scenes(tmp_path / "a.zarr", ["left", "right"])

    with pytest.raises(SlideError, match=r"a\.zarr: holds 2 images: 0 \(left\), 1 \(right\); choose one.*scene=0"):
        open_slide(path)
    assert np.array_equal(pixels(path, "ome-zarr:scene=1"), picture() // 2)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_chunk_that_is_not_there_is_an_error_that_names_its_file(tmp_path: Path, version: str) -> None:
    path = write(tmp_path / "a.zarr", version=version)
    lost = "0/1/1/2" if version == "0.4" else "0/c/1/1/2"
    (path / lost).unlink()

    with open_slide(path) as slide:
        with pytest.raises(SlideError, match=rf"a\.zarr: chunk \(2, 1\) of level 0 is not there \({lost}\)"):
            slide.read(Point(130, 70), 0, Size(8, 8))
        assert np.array_equal(slide.read(Point(0, 0), 0, Size(128, 200)), picture()[:, :128])
    expected = picture()
    expected[64:128, 128:192, 1] = 0
    assert np.array_equal(pixels(path, "ome-zarr:missing=fill"), expected)


def test_a_chunk_that_is_not_there_is_background_where_the_fill_value_is_white(tmp_path: Path) -> None:
    image = picture()
    image[64:128, 128:192] = 255
    path = write(tmp_path / "a.zarr", [image], fill=255)  # zarr leaves out chunks of the fill value

    assert not (path / "0/c/0/1/2").exists()
    assert np.array_equal(pixels(path), image)
    with open_slide(path, slides=Slides(reader="ome-zarr:missing=unreadable")) as slide:
        found = slide.read_many([Point(130, 70), Point(0, 0)], 0, Size(4, 4))
    assert [isinstance(each, SlideError) for each in found] == [True, False]


def test_empty_chunks_of_a_shard_that_is_there_have_the_fill_value(tmp_path: Path) -> None:
    image = picture()
    image[:64, :64] = 0
    path = write(tmp_path / "a.zarr", [image], shards=(3, 128, 128))

    assert np.array_equal(pixels(path), image)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_damaged_chunk_costs_its_tiles_and_the_run_counts_them(tmp_path: Path, share: float) -> None:
    slides = tmp_path / "slides"
    slides.mkdir()
    path = write(slides / "a.ome.zarr")
    chunk = path / "0/c/2/1/1"
    content = chunk.read_bytes()
    chunk.write_bytes(content[: int(share * len(content))])
    table = {"slideloom": 1, "filter": [], "tiles": {"size_px": 64, "size_um": 32}, "sink": [{"use": "images"}]}

    (report,) = run_pipeline(
        pipeline_from_table(table, where="test"), find_slides([str(slides)]), tmp_path / "out"
    ).slides

    assert (report.slide, report.reader) == ("a", "ome-zarr")
    assert (report.planned, report.written, report.unreadable) == (12, 11, 1)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("lost", ["half", "byte"])
@pytest.mark.parametrize("shuffle", ["shuffle", "noshuffle"])
def test_a_chunk_of_blosc_that_is_cut_short_is_never_shown(
    tmp_path: Path, version: str, lost: str, shuffle: str
) -> None:
    settings: dict[str, Any] = {"cname": "lz4", "clevel": 5}
    codec: Any = (
        numcodecs.Blosc(shuffle=int(shuffle == "shuffle"), **settings)
        if version == "0.4"
        else BloscCodec(shuffle=shuffle, **settings)
    )
    path = write(tmp_path / "a.zarr", version=version, chunk_channels=3, compressors=codec)
    assert np.array_equal(pixels(path), picture())
    chunk = path / ("0/0/1/1" if version == "0.4" else "0/c/0/1/1")
    content = chunk.read_bytes()
    chunk.write_bytes(content[: len(content) // 2 if lost == "half" else -1])

    with (
        open_slide(path, mpp=0.5) as slide,
        pytest.raises(SlideError, match=r"chunk \(1, 1\) of level 0 .* of its \d+"),
    ):
        slide.read(Point(64, 64), 0, Size(64, 64))


@pytest.mark.parametrize("places", ["start", "end"])
def test_a_chunk_in_a_shard_that_states_more_bytes_than_it_has_is_never_shown(tmp_path: Path, places: str) -> None:
    """Blosc would read on behind it. Bytes 12 to 15 of a chunk are its size, by Blosc's format."""
    path = write(
        tmp_path / "a.zarr",
        shards={"shape": (1, 2 * CHUNK, 2 * CHUNK), "index_location": places},
        compressors=BloscCodec(cname="lz4", shuffle="noshuffle"),
    )
    assert np.array_equal(pixels(path), picture())
    shard = path / "0/c/0/0/0"
    content = bytearray(shard.read_bytes())
    index = content[: 4 * 16] if places == "start" else content[-4 * 16 - 4 : -4]  # and four bytes of a checksum
    first, size = np.frombuffer(bytes(index[:16]), "<u8").tolist()
    assert int.from_bytes(content[first + 12 : first + 16], "little") == size
    content[first + 12 : first + 16] = (size + 1).to_bytes(4, "little")
    shard.write_bytes(content)

    with (
        open_slide(path, mpp=0.5) as slide,
        pytest.raises(SlideError, match=rf"chunk \(0, 0\) of level 0 .*it has {size} of its {size + 1} bytes"),
    ):
        slide.read(Point(0, 0), 0, Size(64, 64))


def test_a_folder_of_chunks_is_one_slide_and_nothing_in_it_is_another(tmp_path: Path) -> None:
    one = write(tmp_path / "in" / "a.ome.zarr", version="0.4")
    other = write(tmp_path / "in" / "plain name", version="0.5")
    packed = zipped(write(tmp_path / "elsewhere" / "c.ome.zarr"))
    shutil.move(packed, tmp_path / "in" / "c.ome.zarr.zip")

    assert find_slides([str(tmp_path / "in")]) == [one, tmp_path / "in" / "c.ome.zarr.zip", other]
    assert find_slides([str(one)]) == [one]
    assert [slide_name(path) for path in (one, tmp_path / "in" / "c.ome.zarr.zip")] == ["a", "c"]


def test_the_same_tiles_come_through_a_buffer(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.zarr")
    found = []
    for buffer in (None, str(tmp_path / "buffer")):
        table: dict[str, Any] = {"slideloom": 1, "filter": [], "tiles": {"size_px": 50, "size_um": 25}}
        table |= {"sink": [{"use": "images", "format": "png"}], "run": {"buffer": buffer} if buffer else {}}
        out = tmp_path / f"out{len(found)}"
        (report,) = run_pipeline(pipeline_from_table(table, where="test"), [path], out).slides
        assert (report.status, report.written) == ("done", 24)
        found.append({tile.name: tile.read_bytes() for tile in out.rglob("*.png") if tile.name.startswith("a-")})

    assert len(found[0]) == 24
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "damage",
    [
        lambda said: said["multiscales"][0].pop("axes"),
        lambda said: said["multiscales"].clear(),
        lambda said: said["multiscales"][0]["datasets"][0].update(path="gone"),
        lambda said: said["multiscales"][0]["axes"].pop(),
        lambda said: said["multiscales"][0]["datasets"][0]["coordinateTransformations"][0].update(scale=[1]),
    ],
    ids=["no axes", "no image", "no array", "an axis less", "a short scale"],
)  # fmt: skip
def test_a_description_that_makes_no_sense_is_refused(tmp_path: Path, damage: Any) -> None:
    path = write(tmp_path / "a.zarr", version="0.4")
    said = json.loads((path / ".zattrs").read_text())
    damage(said)
    (path / ".zattrs").write_text(json.dumps(said))

    with pytest.raises(SlideError, match=r"a\.zarr: "):
        open_slide(path, mpp=0.5)


def test_a_zarr_folder_that_is_no_image_is_not_taken_for_one(tmp_path: Path) -> None:
    zarr.open_array(tmp_path / "a.zarr", mode="w", shape=(4, 4), dtype="u1", zarr_format=3)

    with pytest.raises(SlideError, match=r"a\.zarr: no reader recognises it"):
        open_slide(tmp_path / "a.zarr")
