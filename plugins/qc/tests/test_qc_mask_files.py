"""Masks that anybody made, as slide QC and as regions: every format, scale and class, and what is refused."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slideloom as sl
import tifffile
from PIL import Image
from slideloom import Box, ConfigError, QcResult, RoiError, Size, SlideError
from slideloom_qc import MaskFiles, MaskRegions, mask_images
from slideloom_qc.mask_images import read_mask_image
from slideloom_qc.mask_steps import MaskFilesQc, MaskRegionsSource
from slideloom_testing import PixelsSlide, info_of, scene_of
from slideloom_testing.contracts import RoiSourceContract, SlideQcContract

# A slide of 2000 x 1500 pixels of 0.5 um, and masks of 100 x 75.
LABELS = np.zeros((75, 100), np.uint8)
LABELS[10:50, 20:70] = 1
LABELS[20:30, 30:50] = 0  # a hole
LABELS[55:70, 5:90] = 2
LABELS[22:26, 35:40] = 2  # within the hole
CLASSES = ("0=glass:background", "1=tumor", "2=fold:artifact:0.2")


class TestMaskFiles(SlideQcContract):
    @pytest.fixture(autouse=True)
    def _mask(self, tmp_path: Path) -> None:
        mask = np.zeros((80, 120), np.uint8)
        mask[40:] = 255
        Image.fromarray(mask).save(tmp_path / "pixels.png")
        (tmp_path / "pixels.json").write_text('{"downsample": 10}')
        self.settings = MaskFiles(folder=tmp_path, nonzero="keep", missing="count")


class TestMaskRegions(RoiSourceContract):
    slide_info = info_of()

    @pytest.fixture(autouse=True)
    def _mask(self, tmp_path: Path) -> None:
        Image.fromarray(LABELS).save(tmp_path / "slide.png")
        self.settings = MaskRegions(folder=tmp_path, classes=("1=tumor", "2=stroma"))


def assessed(folder: Path, **options: Any) -> QcResult:
    slide = PixelsSlide(np.zeros((1500, 2000, 3), np.uint8), mpp=0.5, path=Path("slide.svs"))
    result = MaskFilesQc(MaskFiles(folder=folder, **options)).assess(slide, scene_of())
    slide.close()
    return result


def regions(folder: Path, **options: Any) -> sl.Regions | None:
    return MaskRegionsSource(MaskRegions(folder=folder, **options)).regions(info_of())


def palette_png(path: Path, labels: np.ndarray) -> None:
    image = Image.fromarray(labels, mode="P")
    image.putpalette([255, 0, 0, 0, 200, 30, 10, 10, 10])
    image.save(path)


def ome(path: Path, labels: np.ndarray) -> None:
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(labels, subifds=1, tile=(32, 32), compression="zlib")
        file.write(labels[::2, ::2], subfiletype=1, tile=(32, 32), compression="zlib")


FORMATS = {
    ".png": lambda path, labels: Image.fromarray(labels).save(path),
    "-palette.png": palette_png,
    "-rgb.png": lambda path, labels: Image.fromarray(np.repeat(labels[..., None], 3, axis=2)).save(path),
    ".npy": np.save,
    "-int32.npy": lambda path, labels: np.save(path, labels.astype(np.int32)),
    ".tif": tifffile.imwrite,
    "-tiled.tif": lambda path, labels: tifffile.imwrite(path, labels, tile=(32, 32), compression="lzw"),
    "-16bit.tiff": lambda path, labels: tifffile.imwrite(path, labels.astype(np.uint16), rowsperstrip=7),
    ".ome.tif": ome,
}


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_gives_the_same_classes(tmp_path: Path, ending: str) -> None:
    FORMATS[ending](tmp_path / f"slide{ending}", LABELS)
    suffix = ending[: ending.index(".")]
    result = assessed(tmp_path, classes=CLASSES, suffix=suffix)

    assert np.array_equal(result.labels, LABELS)
    assert [(one.name, one.kind, one.threshold) for one in result.classes] == [
        ("glass", "background", None), ("tumor", None, None), ("fold", "artifact", 0.2),
    ]  # fmt: skip
    assert np.array_equal(result.mask, LABELS != 1)
    assert result.extent == Box(0, 0, 2000, 1500)


@pytest.mark.parametrize(("nonzero", "share"), [("keep", 0.75), ("discard", 0.25)])
@pytest.mark.parametrize("value", [1, 255, True])
def test_a_mask_of_two_values_keeps_or_discards_what_is_not_zero(
    tmp_path: Path, nonzero: Any, share: float, value: Any
) -> None:
    mask = np.zeros((75, 100), type(value) if value is True else np.uint8)
    mask[:, :25] = value
    np.save(tmp_path / "slide.npy", mask)

    assert assessed(tmp_path, nonzero=nonzero).mask.mean() == share


def test_what_pixels_mean_must_be_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='say what pixels other than zero are: nonzero = "keep"'):
        assessed(tmp_path)


def test_a_bilevel_tiff_whose_white_is_zero_is_read_as_it_looks(tmp_path: Path) -> None:
    Image.fromarray(LABELS == 1).save(tmp_path / "slide.tif", tiffinfo={262: 0}, compression="group4")
    shown = np.asarray(Image.open(tmp_path / "slide.tif"))

    assert np.array_equal(~assessed(tmp_path, nonzero="keep").mask, shown)


def test_classes_may_come_from_a_json_file(tmp_path: Path) -> None:
    np.save(tmp_path / "slide.npy", LABELS)
    (tmp_path / "labels.json").write_text('{"tumor": 1, "stroma": 2}')
    found = regions(tmp_path, labels=tmp_path / "labels.json")

    assert found is not None
    assert [region.label for region in found.items] == ["tumor", "stroma", "stroma"]


def test_outlines_run_along_pixel_borders_and_have_the_area_of_the_pixels(tmp_path: Path) -> None:
    np.save(tmp_path / "slide.npy", LABELS)
    found = regions(tmp_path, classes=("1=tumor", "2=stroma"))

    assert found is not None
    tumor, *stroma = found.items
    assert tumor.shape.bounds == (400, 200, 1400, 1000)
    assert len(tumor.shape.interiors) == 1
    assert tumor.shape.area == np.count_nonzero(LABELS == 1) * 20 * 20
    assert sum(each.shape.area for each in stroma) == np.count_nonzero(LABELS == 2) * 20 * 20
    assert all(each.shape.is_valid for each in found.items)


def test_outlines_of_any_mask_cover_exactly_its_pixels(tmp_path: Path) -> None:
    noise = (np.random.default_rng(0).random((75, 100)) < 0.5).astype(np.uint8)
    np.save(tmp_path / "slide.npy", noise)
    found = regions(tmp_path)

    assert found is not None
    drawn = sl.Outlines.of(each.shape for each in found.items).mask(extent=Box(0, 0, 2000, 1500), shape=(75, 100))
    assert np.array_equal(drawn, noise.astype(bool))
    assert sum(each.shape.area for each in found.items) == noise.sum() * 400


def test_small_areas_are_left_out_and_counted(tmp_path: Path) -> None:
    np.save(tmp_path / "slide.npy", LABELS)
    found = regions(tmp_path, classes=("1=tumor", "2=stroma"), min_area_um2=20 * 400 * 0.25 + 1)

    assert found is not None
    assert len(found.items) == 2
    assert "1 areas below 2001 um2 are left out" in found.notes


# Scale.


def test_a_mask_of_another_shape_is_refused_with_both_and_the_remedy(tmp_path: Path) -> None:
    np.save(tmp_path / "slide.npy", LABELS.T)
    words = r"75 x 100 pixels, 0.75 times as wide as high, do not cover slide.svs, 2000 x 1500, 1.333 times"
    with pytest.raises(SlideError, match=words):
        assessed(tmp_path, classes=CLASSES)
    with pytest.raises(RoiError, match=r"is it another slide's, cropped or turned.*downsample"):
        regions(tmp_path, classes=CLASSES)


@pytest.mark.parametrize("size", [(75, 100), (76, 100), (74, 100), (75, 101), (24, 32), (2, 2)])
def test_sizes_that_were_rounded_fit(tmp_path: Path, size: tuple[int, int]) -> None:
    np.save(tmp_path / "slide.npy", np.zeros(size, np.uint8))
    assert assessed(tmp_path, nonzero="keep").extent == Box(0, 0, 2000, pytest.approx(1500))


def test_mpp_says_how_much_a_mask_covers(tmp_path: Path) -> None:
    """Padded to 104 x 80 pixels of 10 um, which are 20 level-0 pixels."""
    np.save(tmp_path / "slide.npy", np.pad(LABELS, ((0, 5), (0, 4))))
    result = assessed(tmp_path, classes=CLASSES, mpp=10.0)

    assert result.extent == Box(0, 0, 2080, 1600)
    with pytest.raises(SlideError, match=r"104 x 80 pixels of 30 um cover 6240 x 4800 level-0 pixels, but"):
        assessed(tmp_path, classes=CLASSES, scale="mpp", mpp=30.0)


def test_a_json_file_says_where_a_part_of_the_slide_lies(tmp_path: Path) -> None:
    np.save(tmp_path / "slide.npy", LABELS)
    (tmp_path / "slide.json").write_text('{"downsample": [8, 4], "offset": [400, 100]}')
    result = assessed(tmp_path, classes=CLASSES)

    assert result.extent == Box(400, 100, 800, 300)
    assert result.notes == ("slide.npy covers 8% of the slide",)


@pytest.mark.parametrize(
    "text",
    ['{"downsample": 0}', '{"offset": [0, 0]}', '{"downsample": "x"}', "[]", "no", '{"downsample": 2, "ofset": 1}',
     '{"downsample": 1e999}', '{"slideloom_mask": 1}'],
)  # fmt: skip
def test_a_json_file_that_does_not_say_it_is_refused(tmp_path: Path, text: str) -> None:
    np.save(tmp_path / "slide.npy", LABELS)
    (tmp_path / "slide.json").write_text(text)

    with pytest.raises(SlideError, match=r"slide\.json: does not say where the mask lies"):
        assessed(tmp_path, classes=CLASSES)


def test_a_mask_beside_the_slide_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "slide.npy", LABELS)
    (tmp_path / "slide.json").write_text('{"downsample": 4, "offset": [5000, 0]}')

    with pytest.raises(SlideError, match=r"lies beside slide\.svs"):
        assessed(tmp_path, classes=CLASSES)


# What is refused, or counted.


def test_a_missing_mask_is_an_error_or_counted(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"slide\.svs: no mask slide\.png, \.tif, \.ome\.tif or \.npy in"):
        assessed(tmp_path, nonzero="keep")
    result = assessed(tmp_path, nonzero="keep", missing="count")
    assert not result.mask.any()
    assert result.metrics == {"missing": 1.0}
    assert "nothing is discarded" in result.notes[0]
    assert regions(tmp_path) is None
    with pytest.raises(RoiError, match="no mask slide"):
        regions(tmp_path, missing="error")


def test_values_beyond_the_table_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "slide.npy", LABELS)

    with pytest.raises(SlideError, match=r"holds 2, which the table of classes \(0=glass, 1=tumor\) does not name"):
        assessed(tmp_path, classes=("0=glass", "1=tumor"))
    with pytest.raises(RoiError, match=r"holds 2, which the table"):
        regions(tmp_path, classes=("1=tumor",))
    with pytest.raises(SlideError, match="holds 0, 1, 2, but a mask without classes has zero and one other value"):
        assessed(tmp_path, nonzero="keep")


@pytest.mark.parametrize("words", [("tumor",), ("1=",), ("-1=a",), ("1=a", "1=b")])
def test_a_wrong_table_of_classes_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="mask-files: "):
        assessed(tmp_path, classes=words)


def test_two_masks_of_a_slide_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "slide.npy", LABELS)
    Image.fromarray(LABELS).save(tmp_path / "slide.png")

    with pytest.raises(SlideError, match=r"several masks: slide\.png, slide\.npy"):
        assessed(tmp_path, classes=CLASSES)


COLOURS = np.random.default_rng(1).integers(0, 255, (75, 100, 3), np.uint8)
NO_MASKS = {
    "colours": (".png", lambda path: Image.fromarray(COLOURS).save(path), "it is in colour"),
    "floats": (".npy", lambda path: np.save(path, LABELS * 0.5), "float64; apply the threshold first"),
    "objects": (".npy", lambda path: np.save(path, np.array([{}]), allow_pickle=True), "cannot be read"),
    "volume": (".npy", lambda path: np.save(path, np.zeros((5, 75, 100), np.uint8)), r"shape \(5, 75, 100\)"),
    "channels": (".tif", lambda path: tifffile.imwrite(path, np.stack([LABELS] * 5)), "5 pictures of the same size"),
    "half of a PNG": (".png", lambda path: path.write_bytes(png_bytes()[:90]), "cannot be read"),
    "text": (".tif", lambda path: path.write_text("no"), "cannot be read"),
    "half of an array": (".npy", lambda path: path.write_bytes(npy_bytes()[:300]), "cannot be read"),
}


def png_bytes() -> bytes:
    import io

    stream = io.BytesIO()
    Image.fromarray(COLOURS[..., 0]).save(stream, "png")
    return stream.getvalue()


def npy_bytes() -> bytes:
    import io

    stream = io.BytesIO()
    np.save(stream, LABELS)
    return stream.getvalue()


@pytest.mark.parametrize(("ending", "write", "words"), NO_MASKS.values(), ids=NO_MASKS)
def test_what_is_no_mask_is_refused_by_name(tmp_path: Path, ending: str, write: Any, words: str) -> None:
    write(tmp_path / f"slide{ending}")

    with pytest.raises(SlideError, match=rf"slide\{ending}: .*{words}"):
        assessed(tmp_path, classes=CLASSES)


# Large masks.


def large(height: int = 1200, width: int = 1600) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return ((((x - 700) / 500) ** 2 + ((y - 600) / 400) ** 2 < 1) * np.uint8(3)).astype(np.uint8)


def pyramid(path: Path, smaller: np.ndarray, *, as_pages: bool) -> None:
    options: dict[str, Any] = {"tile": (128, 128), "compression": "zlib"}
    with tifffile.TiffWriter(path) as file:
        file.write(large(), subifds=0 if as_pages else 1, **options)
        file.write(smaller, subfiletype=1, **options)


@pytest.mark.parametrize("as_pages", [False, True])
def test_a_fitting_level_of_a_large_mask_is_read(tmp_path: Path, as_pages: bool) -> None:
    pyramid(tmp_path / "slide.tif", large()[1::4, 1::4], as_pages=as_pages)
    image = read_mask_image(tmp_path / "slide.tif", max_px=500)

    assert np.array_equal(image.values, large()[1::4, 1::4])
    assert image.note == "its level of 400 x 300 pixels was read"
    assert (image.stored, image.covered) == (Size(1600, 1200), (1600, 1200))


def test_a_level_of_averages_is_not_taken_for_classes(tmp_path: Path) -> None:
    """Between 0 and 3, averages are the classes 1 and 2, which the mask has nowhere."""
    averages = large().reshape(300, 4, 400, 4).mean(axis=(1, 3)).round().astype(np.uint8)
    pyramid(tmp_path / "slide.tif", averages, as_pages=False)
    image = read_mask_image(tmp_path / "slide.tif", max_px=500)

    assert set(np.unique(averages)) == {0, 1, 2, 3}
    assert np.array_equal(image.values, large()[2::4, 2::4])
    assert image.note == "of 1600 x 1200 pixels, every 4th was read"


@pytest.mark.parametrize("ending", [".npy", ".png", ".tif", "-tiled.tif"])
def test_of_a_large_mask_without_levels_every_nth_pixel_is_read(tmp_path: Path, ending: str) -> None:
    FORMATS[ending](tmp_path / f"slide{ending}", large())
    image = read_mask_image(tmp_path / f"slide{ending}", max_px=500)

    assert np.array_equal(image.values, large()[2::4, 2::4])
    assert image.covered == (1600, 1200)


def test_the_last_pixels_of_a_large_mask_keep_their_place(tmp_path: Path) -> None:
    """Of 1001 pixels in steps of 3, 334 are read, which cover 1002."""
    np.save(tmp_path / "slide.npy", np.zeros((1001, 1001), np.uint8))
    image = read_mask_image(tmp_path / "slide.npy", max_px=334)

    assert (image.values.shape, image.covered) == ((334, 334), (1002, 1002))


def test_memory_is_that_of_the_result(tmp_path: Path) -> None:
    """A tiled mask of 900 million pixels, in a file of 1 MB."""
    with tifffile.TiffWriter(tmp_path / "slide.tif") as file:
        tile = np.zeros((1024, 1024), np.uint8)
        tile[:, 512:] = 1
        file.write(
            (tile for _ in range(30 * 30)), shape=(30720, 30720), dtype=np.uint8, tile=(1024, 1024), compression="zlib"
        )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    image = read_mask_image(tmp_path / "slide.tif", max_px=1024)

    assert image.values.mean() == 0.5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_a_png_that_is_too_large_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_images, "_MOST_PNG_PX", 7499)
    Image.fromarray(LABELS).save(tmp_path / "slide.png")

    with pytest.raises(SlideError, match="100 x 75 pixels are too many for a PNG"):
        assessed(tmp_path, classes=CLASSES)


def test_a_changed_mask_changes_the_slide(tmp_path: Path) -> None:
    settings = MaskFiles(folder=tmp_path, suffix="_m", nonzero="keep")
    for name in ("a_m.png", "a_m.json", "b_m.png", "a.png"):
        (tmp_path / name).write_text("")

    assert [path.name for path in settings.files_for("a")] == ["a_m.png", "a_m.json"]
