"""One DICOM file of a slide: what is stored in it, and where its frames lie on the slide.

Source: DICOM PS3.3 C.7.6.17.3 (TILED_FULL and TILED_SPARSE), C.7.6.16.2.2.4 (concatenations), C.8.12.6.1 (positions).
"""

from __future__ import annotations

from pathlib import Path

import pydicom
from attrs import field, frozen
from pydicom import Dataset
from slideloom import Size, SlideError

from slideloom_dicom.decoding import RAW, PixelFormat
from slideloom_dicom.frames import Frames, OpenFile
from slideloom_dicom.metadata import first_item, optical_paths

_OFFSETS, _LENGTHS = 0x7FE00001, 0x7FE00002
_MOST_PX = 1 << 26  # of a frame; one of 8192 x 8192 pixels takes 200 MB
_MOST_TILES = 1 << 26
_DAMAGED = "copy it again from its source"


@frozen
class Spot:
    """Where a frame lies: its tile's column and row, its depth, and its optical path."""

    column: int
    row: int
    depth: float
    path: str


@frozen
class Instance:
    """A file, as it was read up to its pixels.

    Attributes:
        path: of the file.
        about: everything before the pixels.
        uid: of the image; files that are parts of one image have the same.
        pyramid: UID of the pyramid that it is a level of, or "".
        first_frame: number of the first frame within the image, from 0.
        parts: files that the image consists of; None if it does not say.
        size: of the whole image.
        pixels: how frames are stored.
        count: of frames in this file.
        pixels_start: where in the file the pixels begin.
    """

    path: Path
    about: Dataset = field(eq=False, repr=False)
    uid: str
    pyramid: str
    first_frame: int
    parts: int | None
    size: Size
    pixels: PixelFormat
    count: int
    pixels_start: int

    @property
    def tile(self) -> Size:
        """Width and height of a frame."""
        return Size(self.pixels.columns, self.pixels.rows)

    @property
    def is_sparse(self) -> bool:
        """True if each frame says where it lies; else they lie in rows, from the top left."""
        kind = str(self.about.get("DimensionOrganizationType", ""))
        return kind == "TILED_SPARSE" or (kind != "TILED_FULL" and bool(self._positions(0)))

    def paths(self) -> list[Dataset]:
        """The optical paths, in the order in which frames follow each other."""
        return list(optical_paths(self.about))

    def depths(self) -> tuple[float, float]:
        """Depth of the lowest focal plane, and the distance of the next, where frames lie in rows."""
        origin = first_item(self.about, "TotalPixelMatrixOriginSequence")
        measures = first_item(first_item(self.about, "SharedFunctionalGroupsSequence"), "PixelMeasuresSequence")
        step = float(measures.get("SpacingBetweenSlices", 0) or 0)
        return float(origin.get("ZOffsetInSlideCoordinateSystem", 0) or 0), step if step > 0 else 1.0

    def spots(self) -> list[Spot]:
        """Where each frame lies that says so itself.

        Raises:
            SlideError: one does not, or lies across tiles.
        """
        shared = first_item(self.about, "SharedFunctionalGroupsSequence")
        own = [str(path.get("OpticalPathIdentifier", "")) for path in self.paths()]
        frames = self.about.get("PerFrameFunctionalGroupsSequence") or ()
        if len(frames) != self.count:
            raise SlideError(
                f"{self.path.name}: it has {self.count} frames and says of {len(frames)} where they are; {_DAMAGED}"
            )
        found = []
        for number, groups in enumerate(frames):
            place = first_item(groups, "PlanePositionSlideSequence")
            named = first_item(groups, "OpticalPathIdentificationSequence") or first_item(
                shared, "OpticalPathIdentificationSequence"
            )
            try:
                left = int(place.ColumnPositionInTotalImagePixelMatrix) - 1
                top = int(place.RowPositionInTotalImagePixelMatrix) - 1
            except (AttributeError, TypeError, ValueError) as error:
                raise SlideError(
                    f"{self.path.name}: frame {number + 1} does not say where it lies; {_DAMAGED}"
                ) from error
            if left % self.tile.width or top % self.tile.height or not self._is_inside(left, top):
                raise SlideError(
                    f"{self.path.name}: frame {number + 1} lies at ({left}, {top}), which is no place in a grid of "
                    f"{self.tile.width} x {self.tile.height} tiles; write it as TILED_FULL, as with wsidicom's save"
                )
            depth = float(place.get("ZOffsetInSlideCoordinateSystem", 0) or 0)
            path = str(named.get("OpticalPathIdentifier", own[0] if len(own) == 1 else ""))
            found.append(Spot(left // self.tile.width, top // self.tile.height, round(depth, 9), path))
        return found

    def frames(self, file: OpenFile) -> Frames:
        """The frames of the file.

        Raises:
            SlideError: they cannot be told apart.
        """
        extended = tuple(bytes(self.about[tag].value) if tag in self.about else b"" for tag in (_OFFSETS, _LENGTHS))
        try:
            return Frames(
                file,
                self.pixels_start,
                is_implicit=self.pixels.syntax == RAW[0],
                is_encapsulated=self.pixels.syntax not in RAW,
                count=self.count,
                raw_bytes=self.pixels.raw_bytes,
                extended=(extended[0], extended[1]),
            )
        except ValueError as error:
            raise SlideError(f"{self.path.name}: {error}; {_DAMAGED}") from error

    def _positions(self, number: int) -> Dataset:
        frames = self.about.get("PerFrameFunctionalGroupsSequence") or ()
        return first_item(frames[number], "PlanePositionSlideSequence") if len(frames) > number else Dataset()

    def _is_inside(self, left: int, top: int) -> bool:
        return 0 <= left < self.size.width and 0 <= top < self.size.height


def read_instance(path: Path) -> Instance:
    """A file of a slide.

    Raises:
        SlideError: it is damaged, or stored in a way that is not read.
    """
    try:
        with path.open("rb") as file:
            about = pydicom.dcmread(file, stop_before_pixels=True)
            instance = _instance(path, about, file.tell())
    except OSError as error:
        raise SlideError(f"{path.name}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # pydicom raises whatever a damaged value leads to
        raise SlideError(f"{path.name}: is damaged ({error or type(error).__name__}); {_DAMAGED}") from error
    obstacle = instance.pixels.obstacle()
    if obstacle is not None:
        raise SlideError(f"{path.name}: {obstacle}; convert it to RGB, as with: gdcmconv --raw IN OUT")
    return instance


def _instance(path: Path, about: Dataset, start: int) -> Instance:
    parts = about.get("InConcatenationTotalNumber")
    pixels = PixelFormat(
        rows=int(about.Rows),
        columns=int(about.Columns),
        samples=int(about.SamplesPerPixel),
        bits=int(about.BitsStored),
        is_wide=int(about.BitsAllocated) > 8,
        is_planar=bool(int(about.get("PlanarConfiguration", 0) or 0)),
        photometric=str(about.get("PhotometricInterpretation", "")),
        syntax=str(about.file_meta.TransferSyntaxUID),
    )
    size = Size(int(about.TotalPixelMatrixColumns), int(about.TotalPixelMatrixRows))
    tiles = size.area // max(1, pixels.rows * pixels.columns)
    if min(size.width, size.height, pixels.rows, pixels.columns) < 1 or tiles > _MOST_TILES:
        raise ValueError(f"{size.width} x {size.height} pixels in frames of {pixels.columns} x {pixels.rows}")
    if pixels.rows * pixels.columns > _MOST_PX:
        raise ValueError(f"its frames have {pixels.columns} x {pixels.rows} pixels, and {_MOST_PX} at most are read")
    if int(about.BitsAllocated) not in (8, 16) or int(about.get("PixelRepresentation", 0) or 0):
        raise ValueError(f"its samples have {about.BitsAllocated} bits, signed or longer than 16")
    return Instance(
        path=path,
        about=about,
        uid=str(about.get("ConcatenationUID", "") or about.SOPInstanceUID),
        pyramid=str(about.get("PyramidUID", "") or ""),
        first_frame=int(about.get("ConcatenationFrameOffsetNumber", 0) or 0),
        parts=int(parts) if parts else None,
        size=size,
        pixels=pixels,
        count=int(about.get("NumberOfFrames", 1) or 1),
        pixels_start=start,
    )
