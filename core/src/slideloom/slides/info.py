"""What is known of a slide without reading pixels: its levels, its resolution, its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor

from attrs import field, frozen

from slideloom.base.addresses import SlidePlace
from slideloom.base.errors import SlideError
from slideloom.base.geometry import Box, Size

# A level this much coarser than wanted is still used: scanners write 4.0003 where they mean 4.
LEVEL_TOLERANCE = 0.01
_PROPORTION_TOLERANCE = 0.01
_ROUNDING_PX = 1.5


@frozen
class Level:
    """One stored resolution of a slide.

    Attributes:
        size: width and height in pixels.
        downsample_x: level-0 pixels per pixel of this level, along x.
        downsample_y: the same along y.
    """

    size: Size
    downsample_x: float
    downsample_y: float

    @property
    def downsample(self) -> float:
        """The larger of both downsamples."""
        return max(self.downsample_x, self.downsample_y)


@frozen
class Resolution:
    """Microns per pixel (mpp) of level 0, and where they come from."""

    x: float
    y: float
    source: str  # such as "openslide.mpp-x", "override", "TIFF resolution", "objective power"

    @property
    def mean(self) -> float:
        """Arithmetic mean of both axes, in microns per pixel."""
        return (self.x + self.y) / 2


@frozen
class SlideInfo:
    """What is known of a slide without reading pixels.

    Attributes:
        path: the file, or the address of one that is not local.
        name: the file name without its extension, as `slide_name` gives it; with the folders of a slide that was found
            below the one that was named, as in "lab1/case7/slide". Make paths of it by `path_of_name` only.
        reader: name of the reader that opened it.
        levels: from level 0, the largest, to the smallest.
        mpp: microns per pixel of level 0, or None if the slide records none.
        tiff_mpp: microns per pixel from the TIFF resolution tags, or None; used where `mpp` is None.
        odd_mpp: what the file records as its resolution though it cannot be one, such as "aperio.MPP = 0"; or "".
        objective_power: such as 20.0, or None.
        bounds: the scanned area in level-0 pixels, or None if it is the whole slide.
        vendor: as the reader names it, such as "aperio", or "".
        shown_as: how the file's samples became 8-bit RGB where that is a choice, such as "upper 8 of 16 bits"; or "".
        icc: name of the ICC profile by which its colours became sRGB; "none" if that was asked for and the file has
            none; "" if it was not asked for.
        background: colour (R, G, B) of places without an image.
        properties: everything else the file says, as text.
        shares_name: True if another slide has the same name but for the folders.
    """

    path: SlidePlace
    name: str
    reader: str
    levels: tuple[Level, ...]
    mpp: Resolution | None = None
    tiff_mpp: Resolution | None = None
    odd_mpp: str = ""
    objective_power: float | None = None
    bounds: Box | None = None
    vendor: str = ""
    shown_as: str = ""
    icc: str = ""
    background: tuple[int, int, int] = (255, 255, 255)
    properties: Mapping[str, str] = field(factory=dict, hash=False)
    shares_name: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """What other files may call it, the most exact first: by its name, or by its file's.

        For a slide in folders, names with folders come first. Those without are there only if no other slide has the
        same, so that nothing which is meant for that one is taken for this one's.
        """
        return names_of(self.path, self.name, shares_name=self.shares_name)

    @property
    def size(self) -> Size:
        """Width and height of level 0 in pixels."""
        return self.levels[0].size

    @property
    def box(self) -> Box:
        """All of level 0."""
        return Box(0, 0, self.size.width, self.size.height)

    def level_for(self, downsample: float) -> int:
        """Index of the coarsest level that is not coarser than `downsample` (with 1% tolerance), else 0."""
        fitting = [i for i, level in enumerate(self.levels) if level.downsample <= downsample * (1 + LEVEL_TOLERANCE)]
        return max(fitting, key=lambda i: self.levels[i].downsample, default=0)

    def thumbnail_size(self, *, max_px: int | None = None, mpp: float | None = None) -> Size:
        """The size in pixels of the whole slide as `Slide.thumbnail` shows it."""
        whole = self.size
        if mpp is not None:
            if self.mpp is None:
                raise SlideError(f"{self.path.name}: a thumbnail at {mpp} mpp needs the slide's microns per pixel")
            scale_x, scale_y = self.mpp.x / mpp, self.mpp.y / mpp
        else:
            scale_x = scale_y = (max_px or 1024) / max(whole.width, whole.height)
        width = max(1, min(whole.width, floor(whole.width * scale_x + 1e-6)))
        height = max(1, min(whole.height, floor(whole.height * scale_y + 1e-6)))
        return Size(width, height)


def slide_name(path: SlidePlace) -> str:
    """The slide's name: the file name without extension; `.ome.tif`, `.ome.zarr` and such count as one extension.

    A number is no extension: the last part of a DICOM UID, such as `1.2.840.7`, belongs to the name.
    """
    lower = path.name.lower()
    for extension in (".ome.tif", ".ome.tiff", ".ome.zarr", ".ome.zarr.zip", ".zarr.zip"):
        if lower.endswith(extension):
            return path.name[: -len(extension)]
    return path.name if path.suffix[1:].isdecimal() else path.stem


def names_of(path: SlidePlace, name: str, *, shares_name: bool) -> tuple[str, ...]:
    """See `SlideInfo.names`."""
    folder, slash, own = name.rpartition("/")
    if not slash:
        return name, path.name
    exact = name, f"{folder}/{path.name}"
    return exact if shares_name else (*exact, own, path.name)


def levels_from_sizes(sizes: Sequence[Size]) -> tuple[Level, ...]:
    """Levels whose downsample is the whole number the scanner meant, where rounding explains the stored size.

    A level of 1009 pixels under a slide of 4035 is downsampled by 4, not by 3.999: taking the quotient would
    shift the far side of the slide by up to a pixel.
    """

    def meant(full: int, small: int) -> float:
        whole = max(1, round(full / small))
        explained = small in (full // whole, ceil(full / whole))
        return float(whole) if explained else full / small

    first = sizes[0]
    return tuple(Level(size, meant(first.width, size.width), meant(first.height, size.height)) for size in sizes)


def same_proportions(large: Size, small: Size) -> bool:
    """True if an image of the second size can be one of the first made smaller: a level, and no label or macro image.

    Scanners crop or pad a level by some pixels, so its shorter side may differ by 1% or 1.5 pixels from what it should
    be by the longer one; labels and macro images never have the slide's proportions this exactly.
    """
    if small.width > large.width or small.height > large.height:
        return False
    (long, short), (small_long, small_short) = (
        (size.width, size.height) if large.width >= large.height else (size.height, size.width)
        for size in (large, small)
    )
    return abs(short * small_long / long - small_short) <= max(_ROUNDING_PX, _PROPORTION_TOLERANCE * small_short)
