"""Where frames lie on a slide and in its files: sparse tiles, parts, channels, planes, tables of offsets, damage."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from slideloom import (
    Point,
    Rgb,
    Size,
    SlideError,
    Slides,
    find_slides,
    open_slide,
    pipeline_from_table,
    profile_name,
    run_pipeline,
)
from slideloom_testing.dicom import Instance
from slideloom_testing.icc import matrix_profile
from wsidicom import WsiDicom

Write = Callable[..., Path]
TILE = 64


def picture(width: int = 300, height: int = 200) -> Rgb:
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1)
    return (smooth * 0.8 + np.random.default_rng(width).integers(0, 50, smooth.shape)).astype(np.uint8)


def frames_of(image: Rgb) -> list[Rgb]:
    height, width = image.shape[:2]
    padded = np.pad(image, [(0, -height % TILE), (0, -width % TILE), (0, 0)])
    return [
        np.ascontiguousarray(padded[y : y + TILE, x : x + TILE])
        for y in range(0, height, TILE)
        for x in range(0, width, TILE)
    ]


def pixels(path: Path, reader: str | None = "dicom", level: int = 0) -> Rgb:
    with open_slide(path, slides=Slides(reader=reader)) as slide:
        return slide.read(Point(0, 0), level, slide.info.levels[level].size)


def item(**elements: object) -> Dataset:
    found = Dataset()
    for key, value in elements.items():
        setattr(found, key, value)
    return found


def placed(left: int, top: int, *, depth: float = 0.0, path: str = "") -> Dataset:
    """The functional groups of a frame."""
    groups = item(
        PlanePositionSlideSequence=[
            item(
                ColumnPositionInTotalImagePixelMatrix=left + 1,
                RowPositionInTotalImagePixelMatrix=top + 1,
                XOffsetInSlideCoordinateSystem=0.0,
                YOffsetInSlideCoordinateSystem=0.0,
                ZOffsetInSlideCoordinateSystem=depth,
            )
        ]
    )
    if path:
        groups.OpticalPathIdentificationSequence = [item(OpticalPathIdentifier=path)]
    return groups


PLACES = [(x, y) for y in range(0, 200, TILE) for x in range(0, 300, TILE)]


def test_sparse_frames_lie_where_they_say_and_elsewhere_is_background(write: Write) -> None:
    order = random.Random(5).sample(range(len(PLACES)), 12)
    path = write(
        picture(),
        syntax="rle",
        frames=[frames_of(picture())[number] for number in order],
        DimensionOrganizationType="TILED_SPARSE",
        PerFrameFunctionalGroupsSequence=[placed(*PLACES[number]) for number in order],
    )
    expected = picture()
    for number in set(range(len(PLACES))) - set(order):
        x, y = PLACES[number]
        expected[y : y + TILE, x : x + TILE] = 255

    assert np.array_equal(pixels(path), expected)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([placed(3, 0)], "frame 1 lies at \\(3, 0\\), which is no place in a grid"),
        ([placed(0, 64000)], "frame 1 lies at \\(0, 64000\\)"),
        ([placed(0, 0), placed(0, 0)], "frame 2 lies where another one"),
        ([placed(0, 0), Dataset()], "frame 2 does not say where it lies"),
    ],
)
def test_sparse_frames_without_a_place_of_their_own_are_refused(
    write: Write, groups: list[Dataset], words: str
) -> None:
    path = write(
        picture(),
        frames=frames_of(picture())[: len(groups)],
        DimensionOrganizationType="TILED_SPARSE",
        PerFrameFunctionalGroupsSequence=groups,
    )

    with pytest.raises(SlideError, match=rf"0\.dcm: {words}"):
        open_slide(path, slides=Slides(reader="dicom"))


def write_parts(write: Write, *, syntax: str = "jpeg-ls", total: int | None = 3) -> list[Path]:
    """An image in three files of 8, 8 and 4 frames."""
    frames = frames_of(picture())
    more = {"InConcatenationTotalNumber": total} if total else {}
    return [
        write(
            picture(),
            name=f"part{number}.dcm",
            syntax=syntax,
            frames=frames[8 * number : 8 * number + 8],
            about=Instance(number=number + 1, concatenation="1.2.3.4"),
            ConcatenationFrameOffsetNumber=8 * number,
            InConcatenationNumber=number + 1,
            **more,
        )
        for number in range(3)
    ]


@pytest.mark.parametrize("named", [0, 1, 2])
def test_the_parts_of_an_image_are_read_as_one(write: Write, named: int) -> None:
    assert np.array_equal(pixels(write_parts(write)[named], reader=None), picture())


@pytest.mark.parametrize("total", [3, None], ids=["counted", "not counted"])
@pytest.mark.parametrize("lost", [0, 1, 2])
def test_an_image_of_which_a_part_is_missing_is_refused(write: Write, lost: int, total: int | None) -> None:
    parts = write_parts(write, total=total)
    parts.pop(lost).unlink()

    with pytest.raises(SlideError, match=r"part\d\.dcm: .*(not beside it|missing|has 16 frames instead of 20)"):
        open_slide(parts[0])


def test_a_copy_of_a_file_in_the_folder_changes_nothing(write: Write, tmp_path: Path) -> None:
    path = write(picture(), syntax="jpeg-ls")
    (tmp_path / "0 (copy).dcm").write_bytes(path.read_bytes())

    assert np.array_equal(pixels(path, reader=None), picture())


def test_label_overview_and_thumbnail_are_never_levels_and_levels_are(write: Write) -> None:
    path = write(picture(), syntax="jpeg-ls")
    half = np.ascontiguousarray(picture()[::2, ::2])
    write(half, name="1.dcm", syntax="rle", about=Instance(number=2))
    for number, kind in enumerate(("LABEL", "OVERVIEW", "THUMBNAIL"), 3):
        write(half[::2, ::2], name=f"{number}.dcm", syntax="jpeg-ls", about=Instance(number=number, kind=kind))

    with open_slide(path) as slide:
        assert [level.size for level in slide.info.levels] == [Size(300, 200), Size(150, 100)]
        assert np.array_equal(slide.read(Point(0, 0), 1, Size(150, 100)), half)


def channels(*names: str, code: str = "111744") -> list[Dataset]:
    light = item(CodeValue=code, CodingSchemeDesignator="DCM", CodeMeaning="light")
    return [
        item(OpticalPathIdentifier=name, OpticalPathDescription=f"stain {name}", IlluminationTypeCodeSequence=[light])
        for name in names
    ]


def write_channels(write: Write) -> tuple[Path, Rgb, Rgb]:
    one, other = picture(), np.ascontiguousarray(picture()[::-1])
    path = write(
        one,
        syntax="jpeg-ls",
        frames=[*frames_of(one), *frames_of(other)],
        OpticalPathSequence=channels("1", "HE"),
        NumberOfOpticalPaths=2,
    )
    return path, one, other


def test_several_optical_paths_are_refused_by_their_names_and_each_can_be_chosen(write: Write) -> None:
    path, one, other = write_channels(write)

    with pytest.raises(SlideError, match=r"0\.dcm: .*2 optical paths .*1 \(stain 1\), HE \(stain HE\).*optical_path=1"):
        open_slide(path)
    with pytest.raises(SlideError, match=r"no optical path '7'; it has 1 \(stain 1\)"):
        open_slide(path, slides=Slides(reader="dicom:optical_path=7"))
    assert np.array_equal(pixels(path, "dicom:optical_path=1"), one)
    assert np.array_equal(pixels(path, "dicom:optical_path=HE"), other)


def test_fluorescence_is_refused_unless_its_channel_is_named_and_then_lies_on_black(write: Write) -> None:
    grey = picture()[..., 0]
    path = write(grey, syntax="rle", OpticalPathSequence=channels("DAPI", code="111743"))

    with pytest.raises(SlideError, match=r"0\.dcm: it shows fluorescence in the optical path DAPI"):
        open_slide(path)
    with open_slide(path, slides=Slides(reader="dicom:optical_path=DAPI")) as slide:
        assert slide.info.background == (0, 0, 0)
        assert np.array_equal(slide.read(Point(0, 0), 0, Size(300, 200))[..., 0], grey)


def test_the_icc_profile_is_that_of_the_optical_path(write: Write) -> None:
    path = channels("1")[0]
    path.ICCProfile = matrix_profile("Test scanner v1")
    path["ICCProfile"].VR = "OB"

    with open_slide(write(picture(), syntax="jpeg-ls", OpticalPathSequence=[path])) as slide:
        found = slide.icc_profile()

    assert found is not None
    assert profile_name(found) == "Test scanner v1"


@pytest.mark.parametrize("kind", ["TILED_FULL", "TILED_SPARSE"])
def test_several_focal_planes_are_refused_and_each_can_be_chosen(write: Write, tmp_path: Path, kind: str) -> None:
    low, high = picture(), np.ascontiguousarray(picture()[::-1])
    # Sparse frames come with the higher plane first; a full grid has the lower one first.
    planes = [low, high] if kind == "TILED_FULL" else [high, low]
    depths = [0.0, 0.002] if kind == "TILED_FULL" else [0.002, 0.0]
    path = write(
        low,
        syntax="jpeg-ls",
        frames=[frame for plane in planes for frame in frames_of(plane)],
        DimensionOrganizationType=kind,
        TotalPixelMatrixFocalPlanes=2,
        PerFrameFunctionalGroupsSequence=[placed(*place, depth=depth) for depth in depths for place in PLACES],
    )

    with pytest.raises(SlideError, match=r"0\.dcm: .* 2 images of 300 x 200 pixels.*dicom:plane=1"):
        open_slide(path)
    assert np.array_equal(pixels(path, "dicom:plane=1"), low)
    assert np.array_equal(pixels(path, "dicom:plane=2"), high)
    with pytest.raises(SlideError, match="has no focal plane 3; it has 2"):
        open_slide(path, slides=Slides(reader="dicom:plane=3"))


def test_channels_and_planes_of_a_full_grid_follow_each_other_as_wsidicom_has_them(write: Write) -> None:
    images = {(path, plane): picture() // 4 + 60 * number for number, (path, plane) in enumerate(
        [("A", 1), ("A", 2), ("B", 1), ("B", 2)])}  # fmt: skip
    path = write(
        picture(),
        frames=[frame for image in images.values() for frame in frames_of(image.astype(np.uint8))],
        OpticalPathSequence=channels("A", "B"),
        NumberOfOpticalPaths=2,
        TotalPixelMatrixFocalPlanes=2,
    )
    dataset = pydicom.dcmread(path)
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = 0.001
    dataset.save_as(path)

    with WsiDicom.open(path) as peer:
        depths = sorted(peer.pyramids[0][0].focal_planes)
        for (name, plane), image in images.items():
            theirs = peer.read_region((0, 0), 0, (300, 200), z=depths[plane - 1], path=name).convert("RGB")
            mine = pixels(path, f"dicom:optical_path={name},plane={plane}")
            assert np.array_equal(mine, np.asarray(theirs))
            assert np.array_equal(mine, image)


def test_two_pyramids_in_one_series_are_refused(write: Write) -> None:
    path = write(picture(), syntax="jpeg-ls", PyramidUID="1.2.1")
    write(picture(400, 100), name="1.dcm", syntax="jpeg-ls", about=Instance(number=2), PyramidUID="1.2.2")

    with pytest.raises(SlideError, match=r"0\.dcm: its DICOM series holds 2 pyramids"):
        open_slide(path)


# An extended table is for frames of one piece (PS3.3 C.7.6.3.1.8).
@pytest.mark.parametrize(("table", "pieces"), [("basic", 1), ("basic", 3), ("none", 1), ("none", 3), ("extended", 1)])
def test_frames_are_found_with_each_kind_of_table_and_without(write: Write, table: str, pieces: int) -> None:
    assert np.array_equal(pixels(write(picture(), syntax="jpeg-ls", table=table, pieces=pieces)), picture())


def test_pieces_that_cannot_be_told_apart_as_frames_are_refused(write: Write) -> None:
    path = write(picture(), syntax="rle", table="none", pieces=2)

    with pytest.raises(SlideError, match=r"0\.dcm: its \d+ pieces of pixels cannot be told apart as 20 frames"):
        open_slide(path)


def test_mpp_is_pixel_spacing_with_rows_first(write: Write) -> None:
    path = write(picture(), syntax="jpeg-ls")
    dataset = pydicom.dcmread(path)
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0.0005, 0.00025]
    dataset.save_as(path)

    with open_slide(path) as slide:
        assert (slide.info.mpp.x, slide.info.mpp.y) == (0.25, 0.5)  # type: ignore[union-attr]


def test_an_impossible_pixel_spacing_is_shown_as_found(write: Write) -> None:
    path = write(picture(), syntax="jpeg-ls")
    dataset = pydicom.dcmread(path)
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0, 0]
    dataset.save_as(path)

    with pytest.raises(SlideError, match=r"PixelSpacing, x = 0"):
        open_slide(path)


def test_nothing_of_the_patient_reaches_the_properties(write: Write) -> None:
    path = write(
        picture(), syntax="jpeg-ls", PatientName="Doe^Jane", AccessionNumber="S-77", Manufacturer="Scanner Ltd"
    )

    with open_slide(path) as slide:
        said = str(dict(slide.info.properties))

    assert "Scanner Ltd" in said
    assert "Doe" not in said
    assert "S-77" not in said


def frame_start(path: Path, number: int) -> tuple[int, int]:
    """Where the bytes of a frame begin in the file, and how many there are."""
    content = path.read_bytes()
    frames = [bytes(frame) for frame in pydicom.encaps.generate_frames(pydicom.dcmread(path).PixelData)]
    return content.index(frames[number]), len(frames[number])


def spoil(path: Path, number: int, *, keep: int = 0) -> None:
    """Overwrite a frame's bytes from `keep` on."""
    start, length = frame_start(path, number)
    content = bytearray(path.read_bytes())
    content[start + keep : start + length] = b"\0" * (length - keep)
    path.write_bytes(content)


@pytest.mark.parametrize("syntax", ["rle", "jpeg-ls", "jpeg-2000", "htj2k", "jpeg-xl", "lossless-jpeg"])
def test_a_damaged_frame_is_an_error_and_its_neighbours_are_read(write: Write, syntax: str) -> None:
    path = write(picture(), syntax=syntax)
    spoil(path, 6)

    with open_slide(path, slides=Slides(reader="dicom")) as slide:
        with pytest.raises(SlideError, match=r"0\.dcm: frame 7 is damaged \(.*copy it again"):
            slide.read(Point(70, 70), 0, Size(10, 10))
        for x, y in ((0, 70), (130, 70), (70, 0), (70, 130)):
            assert np.array_equal(slide.read(Point(x, y), 0, Size(40, 40)), picture()[y : y + 40, x : x + 40])


def test_a_read_needs_no_frame_but_those_that_it_shows(write: Write) -> None:
    path = write(picture(), syntax="jpeg-ls")
    for number in range(20):
        if number != 7:
            spoil(path, number)

    with open_slide(path) as slide:
        assert np.array_equal(slide.read(Point(128, 64), 0, Size(64, 64)), picture()[64:128, 128:192])


def test_unreadable_tiles_of_a_cut_file_are_counted(write: Write, tmp_path: Path) -> None:
    path = write(picture(), syntax="jpeg-ls")
    start, length = frame_start(path, 12)
    content = path.read_bytes()
    path.write_bytes(content[: start + length // 2])  # frames 0 to 11 are whole: rows 0 and 1, and 2 tiles of row 2
    table = {"slideloom": 1, "filter": [], "tiles": {"size_px": 64, "size_um": 32}, "sink": [{"use": "images"}]}

    (report,) = run_pipeline(
        pipeline_from_table(table, where="test"), find_slides([str(path)]), tmp_path / "out"
    ).slides

    # 4 x 3 whole tiles; the third row has its first 2.
    assert (report.reader, report.planned, report.written, report.unreadable) == ("dicom", 12, 10, 2)


def test_a_frame_of_another_size_than_the_file_says_is_an_error(write: Write) -> None:
    frames = frames_of(picture())
    frames[0] = np.zeros((32, 32, 3), np.uint8)
    path = write(picture(), syntax="jpeg-2000", frames=frames)

    with (
        open_slide(path, slides=Slides(reader="dicom")) as slide,
        pytest.raises(SlideError, match="frame 1 is damaged"),
    ):
        slide.read(Point(0, 0), 0, Size(8, 8))


@pytest.mark.parametrize("syntax", ["rle", "jpeg-ls"])
def test_whatever_byte_of_a_file_changes_it_is_read_or_refused(write: Write, syntax: str) -> None:
    path = write(picture(), syntax=syntax)
    content = path.read_bytes()
    draw = random.Random(11)
    outcomes = set()
    for _ in range(150):
        changed = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            changed[draw.randrange(128, len(changed))] = draw.randrange(256)
        path.write_bytes(changed)
        try:
            with open_slide(path, slides=Slides(reader="dicom"), mpp=0.5) as slide:
                for found in slide.read_many([Point(x, y) for x, y in PLACES], 0, Size(64, 64)):
                    outcomes.add("unreadable" if isinstance(found, SlideError) else "read")
        except SlideError:
            outcomes.add("refused")

    assert {"read", "unreadable"} <= outcomes
