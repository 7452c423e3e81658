"""The images of a series, each of one or more files, and the choice of those that are the slide's levels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attrs import field, frozen
from slideloom import Size, SlideError, option_given, same_proportions
from slideloom_formats.dicom import native_fault, read_dicom, series_in
from slideloom_formats.grid_slide import TileGrid

from slideloom_dicom.instances import Instance, read_instance
from slideloom_dicom.metadata import is_fluorescence, path_name

Place = tuple[int, int]  # a tile's column and row
FrameOf = tuple[int, int]  # number of the file within the image, and of the frame within the file


@frozen
class Image:
    """An image of one size, whole, at one depth and in one optical path.

    Attributes:
        files: that it consists of.
        depth: of its focal plane, by which planes are put in order.
        path: identifier of the optical path.
        sparse: the frame of each tile that there is, where frames say so themselves.
        first: number of the first frame, where they lie in rows.
    """

    files: tuple[Instance, ...]
    depth: float
    path: str
    sparse: Mapping[Place, FrameOf] | None = field(default=None, eq=False, repr=False)
    first: int = 0

    @property
    def grid(self) -> TileGrid:
        """Its size and that of its tiles."""
        return TileGrid(self.files[0].size, self.files[0].tile)

    def frame(self, column: int, row: int) -> FrameOf | None:
        """The frame of a tile; None if there is none, which is background.

        Raises:
            SlideError: the file that must have it does not.
        """
        if self.sparse is not None:
            return self.sparse.get((column, row))
        number = self.first + row * self.grid.columns + column
        for index, part in enumerate(self.files):
            if part.first_frame <= number < part.first_frame + part.count:
                return index, number - part.first_frame
        raise SlideError(f"{self.files[0].path.name}: no file of its series has frame {number + 1}")


def levels_of(path: Path, *, optical_path: str | None, plane: int | None) -> list[Image]:
    """The slide's levels, the largest first, in the chosen optical path and focal plane.

    Raises:
        SlideError: a file is damaged, parts of an image are missing, or there is more than one picture to choose from.
    """
    instances = [read_instance(file) for file in _level_files(path)]
    for instance in instances:
        fault = native_fault(instance.path)
        if fault is not None:
            raise SlideError(f"{instance.path.name}: {fault}")
    pyramids = {instance.pyramid for instance in instances}
    if len(pyramids) > 1:
        raise SlideError(
            f"{path.name}: its DICOM series holds {len(pyramids)} pyramids; keep the files of one in the folder"
        )
    chosen = _chosen_path(path, instances, optical_path)
    by_size: dict[Size, list[Image]] = defaultdict(list)
    for files in _whole(instances):
        for image in _images_of(files):
            if image.path == chosen:
                by_size[image.grid.size].append(image)
    if not by_size:
        raise SlideError(f"{path.name}: no frame of its DICOM series is in the optical path '{chosen}'")
    return _pyramid(path, by_size, plane)


def _pyramid(path: Path, by_size: Mapping[Size, Sequence[Image]], plane: int | None) -> list[Image]:
    """Of the images of each size the one to show, the largest first, without those of other proportions."""
    sizes = sorted(by_size, key=lambda size: size.area, reverse=True)
    levels: list[Image] = []
    for size in sizes:
        last = levels[-1].grid.size if levels else None
        if last is not None and (size.width >= last.width or size.height >= last.height):
            continue
        if same_proportions(sizes[0], size):
            image = _in_plane(path, sorted(by_size[size], key=lambda image: image.depth), plane)
            if image is not None:
                levels.append(image)
            elif size == sizes[0]:
                raise SlideError(f"{path.name}: has no focal plane {plane}; it has {len(by_size[size])}")
    return levels


def _level_files(path: Path) -> list[Path]:
    """The files of the series' levels, each image once, though copies may lie beside it; of these the named one."""
    found: dict[str, Path] = {}
    for file in sorted(series_in(path), key=lambda file: file != path):
        about = read_dicom(file)
        if about is not None and about.is_slide and about.kind == "VOLUME":
            found.setdefault(about.instance, file)
    return list(found.values())


def _chosen_path(path: Path, instances: Sequence[Instance], wanted: str | None) -> str:
    """The identifier of the optical path to show."""
    paths = {str(item.get("OpticalPathIdentifier", "")): item for instance in instances for item in instance.paths()}
    stated = max(int(instance.about.get("NumberOfOpticalPaths", 1) or 1) for instance in instances)
    if stated > max(1, len(paths)):
        choice = option_given("slides", "reader", f"dicom:optical_path={next(iter(paths))}")
        raise SlideError(
            f"{path.name}: its DICOM series has {stated} optical paths (channels or stains), and says of {len(paths)} "
            "what they are; export one as RGB"
        )
    listed = ", ".join(path_name(item) for item in paths.values())
    if wanted is not None:
        if wanted not in paths:
            raise SlideError(f"{path.name}: has no optical path '{wanted}'; it has {listed or 'none with a name'}")
        return wanted
    if len(paths) > 1:
        choice = option_given("slides", "reader", f"dicom:optical_path={next(iter(paths))}")
        raise SlideError(
            f"{path.name}: its DICOM series has {len(paths)} optical paths (channels or stains): {listed}; choose one, "
            f"which is shown as it is: {choice}"
        )
    for name, item in paths.items():
        if is_fluorescence(item):
            raise SlideError(
                f"{path.name}: it shows fluorescence in the optical path {path_name(item)}, not stained tissue on "
                f"white; to take it as a grey picture: "
                f"{option_given('slides', 'reader', f'dicom:optical_path={name}')}"
            )
    return next(iter(paths), "")


def _whole(instances: Iterable[Instance]) -> list[tuple[Instance, ...]]:
    """The files of each image, in the order of their frames."""
    groups: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        groups[instance.uid].append(instance)
    return [_checked(tuple(sorted(group, key=lambda part: part.first_frame))) for group in groups.values()]


def _checked(files: tuple[Instance, ...]) -> tuple[Instance, ...]:
    """The files of an image, if all are there."""
    first, name = files[0], files[0].path.name
    expected = 0
    for part in files:
        if part.first_frame != expected:
            raise SlideError(f"{name}: the part of its image with frame {expected + 1} is not beside it; copy it, too")
        if (part.size, part.tile, part.is_sparse) != (first.size, first.tile, first.is_sparse):
            raise SlideError(f"{part.path.name}: is not of the same image as {name}, as it says")
        expected += part.count
    if first.parts is not None and first.parts != len(files):
        raise SlideError(f"{name}: {first.parts - len(files)} of the {first.parts} files of its image are missing")
    return files


def _images_of(files: tuple[Instance, ...]) -> list[Image]:
    """The pictures in the files of an image: one for each optical path and focal plane."""
    first = files[0]
    if first.is_sparse:
        return _sparse_images(files)
    paths = [str(path.get("OpticalPathIdentifier", "")) for path in first.paths()] or [""]
    planes = int(first.about.get("TotalPixelMatrixFocalPlanes", 1) or 1)
    grid = TileGrid(first.size, first.tile)
    tiles = grid.columns * grid.rows
    depth, step = first.depths()
    count = sum(part.count for part in files)
    if count != tiles * len(paths) * planes:
        raise SlideError(
            f"{first.path.name}: its image has {count} frames instead of {tiles * len(paths) * planes}; copy its files "
            "again, all of them"
        )
    return [
        Image(files, depth=depth + plane * step, path=path, first=(number * planes + plane) * tiles)
        for number, path in enumerate(paths)
        for plane in range(planes)
    ]


def _sparse_images(files: tuple[Instance, ...]) -> list[Image]:
    found: dict[tuple[float, str], dict[Place, FrameOf]] = defaultdict(dict)
    for index, part in enumerate(files):
        for number, spot in enumerate(part.spots()):
            tiles = found[spot.depth, spot.path]
            if (spot.column, spot.row) in tiles:
                raise SlideError(f"{part.path.name}: frame {number + 1} lies where another one of its image lies")
            tiles[spot.column, spot.row] = (index, number)
    return [Image(files, depth=depth, path=path, sparse=tiles) for (depth, path), tiles in found.items()]


def _in_plane(path: Path, images: Sequence[Image], plane: int | None) -> Image | None:
    """The image of the wanted focal plane; None if there is none of this size."""
    if len(images) == 1 and plane in (None, 1):
        return images[0]
    if plane is not None:
        return images[plane - 1] if plane <= len(images) else None
    size = images[0].grid.size
    raise SlideError(
        f"{path.name}: its DICOM series holds {len(images)} images of {size.width} x {size.height} pixels, such as "
        f"focal planes; choose one: {option_given('slides', 'reader', 'dicom:plane=1')} to "
        f"plane={len(images)}, from the lowest"
    )
