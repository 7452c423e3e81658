"""PNG masks, and a second run that loads what the first one saved."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from slideloom import Box, QcClass, QcResult, Size, SlideError, save_mask
from slideloom_qc import GaussianV2, Otsu, SavedMask, load_mask_png, save_mask_png
from slideloom_testing import PixelsSlide, info_of, scene_of, stained

MASK = np.random.default_rng(2).random((33, 21)) < 0.5
RESULT = QcResult(MASK, "blur", Box(0, 0, 1990, 1490), {"masked": 0.5}, ("a note",))


def test_a_png_mask_comes_back_whole(tmp_path: Path) -> None:
    path, beside = save_mask_png(RESULT, tmp_path / "slide.blur.png", slide=info_of())

    back = load_mask_png(path, slide=info_of())

    assert np.array_equal(back.mask, MASK)
    assert (back.kind, back.extent, back.metrics, back.notes) == ("blur", RESULT.extent, {"masked": 0.5}, ("a note",))
    assert beside.name == "slide.blur.json"


def test_white_is_discarded_in_a_png_mask(tmp_path: Path) -> None:
    path, _ = save_mask_png(RESULT, tmp_path / "a.png", slide=info_of())
    assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), MASK * np.uint8(255))


def test_labels_are_the_grey_values_of_a_png_and_come_back_with_their_classes(tmp_path: Path) -> None:
    labels = np.random.default_rng(3).choice([0, 5, 200], (33, 21)).astype(np.uint8)
    classes = (QcClass(0, "tissue"), QcClass(5, "fold", "artifact", 0.2), QcClass(200, "glass", "background"))
    result = QcResult.of_labels(labels, classes)
    path, _ = save_mask_png(result, tmp_path / "a.png", slide=info_of())

    back = load_mask_png(path, slide=info_of())

    assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), labels)
    assert np.array_equal(back.labels, labels)
    assert np.array_equal(back.mask, labels > 0)
    assert back.classes == classes


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


HUGE_HEADER = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0))
DAMAGED_PNG = {
    "empty": b"",
    "text": b"no image",
    "cut": b"\x89PNG\r\n\x1a\n",
    "huge": b"\x89PNG\r\n\x1a\n" + HUGE_HEADER + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""),
}


@pytest.mark.parametrize("content", DAMAGED_PNG.values(), ids=DAMAGED_PNG)
def test_a_damaged_png_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path, beside = save_mask_png(RESULT, tmp_path / "a.png", slide=info_of())
    path.write_bytes(content)
    record = json.loads(beside.read_text())
    del record["crc32"]  # as somebody does who paints in a mask
    beside.write_text(json.dumps(record))
    with pytest.raises(SlideError, match=r"a\.png: the saved mask is damaged \(not a PNG image"):
        load_mask_png(path)


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_damaged_file_fails_the_step_with_its_name(tmp_path: Path, suffix: str) -> None:
    slide = PixelsSlide(stained(Size(90, 70)), mpp=0.5)
    path, beside = save_mask(Otsu().build().assess(slide, scene_of()), tmp_path / "pixels-otsu.npy", slide=slide.info)
    record = json.loads(beside.read_text())
    del record["crc32"]
    beside.write_text(json.dumps(record))
    path.with_suffix(suffix).write_bytes(b"" if suffix == ".npy" else b"[" * 100_000)

    with pytest.raises(SlideError, match=rf"pixels-otsu\{suffix}: .*delete both files"):
        SavedMask(folder=tmp_path, of="otsu").build().assess(slide, scene_of())


@pytest.mark.parametrize(("suffix", "save"), [(".npy", save_mask), (".png", save_mask_png)])
def test_a_second_run_uses_the_saved_mask(tmp_path: Path, suffix: str, save: object) -> None:
    slide = PixelsSlide(stained(Size(900, 700)), mpp=0.5)
    for step in (Otsu(), GaussianV2()):
        first = step.build().assess(slide, scene_of())
        save(first, tmp_path / f"{slide.info.name}-{step.name}{suffix}", slide=slide.info)

        second = SavedMask(folder=tmp_path, of=step.name).build().assess(slide, scene_of())

        assert np.array_equal(second.mask, first.mask)
        assert (second.kind, second.extent, dict(second.metrics)) == (first.kind, first.extent, dict(first.metrics))


def test_a_mask_that_is_not_there_is_named_with_the_remedy(tmp_path: Path) -> None:
    slide = PixelsSlide(stained(Size(90, 70)), mpp=0.5)
    with pytest.raises(
        SlideError,
        match=r"pixels\.json: no saved mask pixels-otsu\.npy, pixels-otsu\.png or pixels_otsu\.npz in .*save_masks",
    ):
        SavedMask(folder=tmp_path, of="otsu").build().assess(slide, scene_of())


def test_a_mask_of_another_slide_is_refused(tmp_path: Path) -> None:
    save_mask(RESULT, tmp_path / "pixels.npy", slide=info_of("pixels", size=Size(10, 10)))
    slide = PixelsSlide(stained(Size(90, 70)), mpp=0.5)
    with pytest.raises(SlideError, match="made for a slide of 10 x 10"):
        SavedMask(folder=tmp_path, of="").build().assess(slide, scene_of())


def test_the_step_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one name without separators"):
        SavedMask(folder=tmp_path, of="../../elsewhere")


def test_a_mask_that_slideflow_saved_is_placed_by_its_width(tmp_path: Path) -> None:
    mask = np.zeros((75, 100), bool)  # of a slide of 2000 x 1500
    mask[:, :50] = True
    np.savez(tmp_path / "pixels_qc.npz", mask=mask)
    slide = PixelsSlide(stained(Size(2000, 1500)), mpp=1.0)
    settings = SavedMask(folder=tmp_path, of="qc")

    result = settings.build().assess(slide, scene_of())

    assert np.array_equal(result.mask, mask)
    assert (result.kind, result.extent) == ("artifact", Box(0, 0, 2000, 1500))
    assert [path.name for path in settings.files_for("pixels")] == ["pixels_qc.npz"]
    assert SavedMask(folder=tmp_path, of="qc", kind="background").build().assess(slide, scene_of()).kind == "background"


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"mask": np.zeros((100, 75), bool)}, "75 x 100 pixels do not have the shape of .*, 2000 x 1500"),
        ({"mask": np.zeros((75, 100))}, r"wanted a mask \(h, w\) bool, got \(75, 100\) float64"),
        ({"other": np.zeros((75, 100), bool)}, "is not a packed mask, nor one of Slideflow"),
    ],
    ids=["another shape", "no booleans", "another file"],
)
def test_a_mask_that_cannot_be_the_slide_s_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    np.savez(tmp_path / "pixels_qc.npz", **arrays)
    slide = PixelsSlide(stained(Size(2000, 1500)), mpp=1.0)

    with pytest.raises(SlideError, match=said):
        SavedMask(folder=tmp_path, of="qc").build().assess(slide, scene_of())
