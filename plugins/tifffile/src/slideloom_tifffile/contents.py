"""Which images of a file are the slide and its levels, and whether their pixels are those of one RGB picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attrs import frozen
from slideloom import Size, same_proportions
from slideloom_formats.ome_xml import ome_xml
from slideloom_formats.tiff import (
    PICTURE_TAGS,
    TILE_TAGS,
    TiffDirectory,
    TiffError,
    TiffTag,
    TileLayout,
    first_strip_fault,
    is_aside,
    lacks_tiles,
    obstacle_in,
    read_tiff_directories,
    read_tiff_sub_images,
    sample_obstacle,
)

from slideloom_tifffile.ome import planes_of
from slideloom_tifffile.refusals import NotRead
from slideloom_tifffile.settings import TifffileReader

TAGS = PICTURE_TAGS | TILE_TAGS | {
    TiffTag.ORIENTATION, TiffTag.X_RESOLUTION, TiffTag.Y_RESOLUTION, TiffTag.UNIT, TiffTag.SOFTWARE,
}  # fmt: skip
_REDUCED = 1  # a bit of the subfile type
_MOST_SEGMENT = 256 << 20  # bytes of a decoded tile or strip
_ALIKE = (TiffTag.BITS, TiffTag.COMPRESSION, TiffTag.PHOTOMETRIC, TiffTag.SAMPLES, TiffTag.PLANAR)


@frozen
class StoredLevel:
    """One level, whose channels are in one directory or in three.

    Attributes:
        planes: the directories: one, or those of red, green and blue.
        grids: where the segments of each lie; they have the same segments.
    """

    planes: tuple[TiffDirectory, ...]
    grids: tuple[TileLayout, ...]

    @property
    def grid(self) -> TileLayout:
        """The segments, which all planes have in common."""
        return self.grids[0]

    @property
    def size(self) -> Size:
        """In pixels."""
        return self.grid.size


@frozen
class Picture:
    """The slide in a file.

    Attributes:
        levels: largest first.
        first: the first directory of the file, which describes it.
    """

    levels: tuple[StoredLevel, ...]
    first: TiffDirectory

    @property
    def base(self) -> TiffDirectory:
        """The first directory of level 0."""
        return self.levels[0].planes[0]

    @property
    def description(self) -> str:
        """What the file says of the slide."""
        return self.base.text(TiffTag.DESCRIPTION) or self.first.text(TiffTag.DESCRIPTION)


def picture_in(path: Path, settings: TifffileReader) -> Picture:
    """The slide in a TIFF.

    Args:
        path: of the file.
        settings: what to read where there is a choice.

    Raises:
        NotRead: it is not one RGB picture; the message says what it is, and how to choose.
        TiffError: it is no TIFF, or damaged.
        OSError: it cannot be read.
    """
    images = read_tiff_directories(path, TAGS)
    if not images:
        raise TiffError("it holds no image")
    planes = _planes(images, settings)
    for plane in planes:
        obstacle = sample_obstacle(plane)
        if obstacle is not None:
            raise NotRead(obstacle)
    base = _level(planes)
    if base is None or (len(planes) > 1 and base.grid.samples * base.grid.planes > 1):
        raise NotRead("its channels differ in size or storage; write it again as RGB")
    if not base.grid.written().any():
        raise NotRead("its picture has no bytes: its tiles or strips are all empty; copy the file again")
    sheared = first_strip_fault(path, planes[0]) or _uncounted(base)
    if sheared is not None:
        raise NotRead(f"{sheared}; the file is damaged: copy it again from its source")
    if base.grid.tile_bytes * max(1, (planes[0].number(TiffTag.BITS, 8) or 8) // 8) > _MOST_SEGMENT:
        what = "tile" if base.grid.is_tiled else "strip"
        raise NotRead(
            f"one {what} of it has {base.grid.tile.width} x {base.grid.tile.height} pixels, which is too much to "
            "decode at once; write it again in tiles of 256 pixels"
        )
    return Picture(levels=(base, *_smaller(path, base, images, settings)), first=images[0])


def _planes(images: Sequence[TiffDirectory], settings: TifffileReader) -> tuple[TiffDirectory, ...]:
    """The directories of level 0."""
    obstacle, root = obstacle_in(images), ome_xml(images[0].text(TiffTag.DESCRIPTION))
    has_choice = settings.scene is not None or bool(settings.channels) or settings.plane is not None
    if root is not None and (obstacle is not None or has_choice):
        return planes_of(root, images, scene=settings.scene, channels=settings.channels, plane=settings.plane)
    if obstacle is not None:
        raise NotRead(obstacle)
    if has_choice:
        raise NotRead("scene, channels and plane choose from an OME-TIFF, and it is none; leave them out")
    sized = [(image, size) for image in images if not is_aside(image) and (size := image.size()) is not None]
    if not sized:
        raise TiffError("it holds no image of the slide")
    return (max(sized, key=lambda item: item[1].area)[0],)


def _level(planes: Sequence[TiffDirectory]) -> StoredLevel | None:
    """The planes as one level; None if they differ."""
    grids = tuple(TileLayout.of(plane) for plane in planes)
    layouts = {(grid.size, grid.tile, grid.planes, grid.samples, grid.is_tiled) for grid in grids}
    kinds = {_kind(plane) for plane in planes}
    return StoredLevel(tuple(planes), grids) if len(layouts) == len(kinds) == 1 else None


def _uncounted(base: StoredLevel) -> str | None:
    """That plain tiles have a place and no bytes: other readers show what lies there, and no background."""
    for plane, grid in zip(base.planes, base.grids, strict=True):
        placed = grid.offsets[(grid.lengths == 0) & (grid.offsets != 0)]
        if len(placed) and plane.number(TiffTag.COMPRESSION, 1) == 1:
            return f"it counts no bytes of {len(placed)} tiles or strips, such as that at byte {placed[0]}"
    return None


def _kind(image: TiffDirectory) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(image.numbers(tag).tolist()) for tag in _ALIKE)


def _smaller(
    path: Path, base: StoredLevel, images: Sequence[TiffDirectory], settings: TifffileReader
) -> list[StoredLevel]:
    """The other levels: sub-images of level 0, or images marked as smaller; with its proportions and its storage."""
    found = [base]
    for planes in sorted(_candidates(path, base, images, settings), key=_area, reverse=True):
        if any(_kind(plane) != _kind(base.planes[0]) for plane in planes):
            continue
        level = _level(planes)
        if level is None or level.grid.is_tiled != base.grid.is_tiled or not level.grid.written().any():
            continue
        last = found[-1].size
        is_smaller = level.size.width < last.width and level.size.height < last.height
        is_copy = same_proportions(base.size, level.size) and not lacks_tiles(planes[0], base.planes[0])
        if is_smaller and is_copy:
            found.append(level)
    return found[1:]


def _area(planes: Sequence[TiffDirectory]) -> int:
    size = planes[0].size()
    return size.area if size is not None else 0


def _candidates(
    path: Path, base: StoredLevel, images: Sequence[TiffDirectory], settings: TifffileReader
) -> list[tuple[TiffDirectory, ...]]:
    subs = [read_tiff_sub_images(path, plane, TAGS) if TiffTag.SUB_IFDS in plane else [] for plane in base.planes]
    found = list(zip(*subs, strict=True)) if len({len(sub) for sub in subs}) == 1 else []
    found = [planes for planes in found if not any(is_aside(plane) for plane in planes)]
    if len(base.planes) == 1 and settings.scene is None:
        is_aperio = images[0].text(TiffTag.DESCRIPTION).startswith("Aperio")
        found += [
            (image,)
            for image in images
            if image.at != base.planes[0].at and not is_aside(image) and (is_aperio or _is_reduced(image))
        ]
    return found


def _is_reduced(image: TiffDirectory) -> bool:
    return bool((image.number(TiffTag.SUBFILE_TYPE) or 0) & _REDUCED)
