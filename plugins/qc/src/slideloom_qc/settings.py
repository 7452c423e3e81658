"""Options of the slide QC steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import attrs
from attrs.validators import optional
from slideloom import (
    ConfigError,
    OptionError,
    Settings,
    SlideQc,
    at_least,
    file_name,
    in_range,
    option,
    positive,
)


def empty_or_file_name(instance: Any, attribute: attrs.Attribute[Any], value: str) -> None:
    """A validator for an empty text or a name that cannot lead outside a folder."""
    if value:
        file_name(instance, attribute, value)


@attrs.frozen
class Otsu(Settings[SlideQc]):
    """Mask background: pixels whose colour saturation is at most Otsu's threshold."""

    name: ClassVar[str] = "otsu"
    step: ClassVar[str] = "slideloom_qc.otsu:OtsuQc"
    install: ClassVar[str] = "slideloom-qc"
    within_regions: bool = option(True, help="compute the threshold only from pixels inside the regions of interest")


_BLOCK_PX = 512


@attrs.frozen
class Gaussian(Settings[SlideQc]):
    """Mask out-of-focus areas: gaussian-v2 under its older name, with the same mask."""

    name: ClassVar[str] = "gaussian"
    step: ClassVar[str] = "slideloom_qc.blur:BlurQc"
    install: ClassVar[str] = "slideloom-qc"
    mpp: float | None = option(
        None, help="resolution to look at; four times the tile's if not set", unit="um/px", validator=positive
    )
    sigma: float = option(
        3.0, help="width of the Gaussian that averages the edges", unit="px", validator=in_range(0.1, 50)
    )
    threshold: float = option(
        0.02, help="averaged edge strength up to which a place is out of focus", validator=at_least(0)
    )
    block_px: ClassVar[int] = _BLOCK_PX


@attrs.frozen
class GaussianV2(Settings[SlideQc]):
    """Mask out-of-focus areas, block by block with bounded memory."""

    name: ClassVar[str] = "gaussian-v2"
    step: ClassVar[str] = "slideloom_qc.blur:BlurQc"
    install: ClassVar[str] = "slideloom-qc"
    mpp: float | None = option(
        None, help="resolution to look at; four times the tile's if not set", unit="um/px", validator=positive
    )
    sigma: float = option(
        3.0, help="width of the Gaussian that averages the edges", unit="px", validator=in_range(0.1, 50)
    )
    threshold: float = option(
        0.02, help="averaged edge strength up to which a place is out of focus", validator=at_least(0)
    )
    block_px: int = option(
        _BLOCK_PX,
        help="side of a block; does not change the mask",
        unit="px",
        validator=at_least(16),
        affects_output=False,
    )


@attrs.frozen
class Pen(Settings[SlideQc]):
    """Mask marker ink (blue, cyan, green, red, black), judged against each slide's own glass and staining."""

    name: ClassVar[str] = "pen"
    step: ClassVar[str] = "slideloom_qc.pen:PenQc"
    install: ClassVar[str] = "slideloom-qc"
    revision: ClassVar[int] = 2
    mpp: float = option(8.0, help="resolution to look at", unit="um/px", validator=positive)
    min_area_um2: float = option(20_000.0, help="smaller patches of ink are ignored", unit="um2", validator=at_least(0))
    margin_um: float = option(8.0, help="strokes are widened by this much", unit="um", validator=at_least(0))


@attrs.frozen
class Tissue(Settings[SlideQc]):
    """Mask background: what is not stained compared with the slide's own glass, and marker ink."""

    name: ClassVar[str] = "tissue"
    step: ClassVar[str] = "slideloom_qc.tissue:TissueQc"
    install: ClassVar[str] = "slideloom-qc"
    revision: ClassVar[int] = 2  # relies on `pen`: increase it with the one of `Pen`
    mpp: float = option(8.0, help="resolution to look at", unit="um/px", validator=positive)
    min_tissue_um2: float = option(
        20_000.0, help="smaller pieces of tissue are background", unit="um2", validator=at_least(0)
    )
    max_hole_um2: float = option(10_000.0, help="smaller holes in tissue are filled", unit="um2", validator=at_least(0))


@attrs.frozen
class SavedMask(Settings[SlideQc]):
    """Use the mask that an earlier run saved, `FOLDER/SLIDE-OF.npy` or `.png`, or Slideflow, `SLIDE_qc.npz`."""

    name: ClassVar[str] = "saved-mask"
    step: ClassVar[str] = "slideloom_qc.files:SavedMaskQc"
    install: ClassVar[str] = "slideloom-qc"
    folder: Path = option(help="folder of the saved masks")
    of: str = option(
        help="name of the QC step that was saved, such as 'otsu'; empty if files have only the slide's name; 'qc' for "
        "Slideflow's",
        validator=empty_or_file_name,
    )
    kind: Literal["background", "blur", "artifact"] = option(
        "artifact", help="kind of the discarded areas, where the file does not say it (.npz)"
    )

    def check(self) -> None:
        """Look for the folder; a mask that a slide has not got is that slide's error."""
        super().check()
        if not self.folder.is_dir():
            raise ConfigError(f"{self.folder}: no such folder of saved masks")

    @property
    def label(self) -> str:
        """Such as `saved-mask-otsu`, so that the account says which mask rejected a tile."""
        return f"{self.name}-{self.of}" if self.of else self.name

    def files_for(self, slide: str) -> Sequence[Path]:
        """The slide's mask file, in whichever format exists."""
        return [path for name in self.names_for(slide) if (path := self.folder / name).is_file()][:1]

    def names_for(self, slide: str) -> tuple[str, ...]:
        """What the slide's mask file may be called, the first that exists counts."""
        ours = f"{slide}-{self.of}" if self.of else slide
        theirs = f"{slide}_{self.of}" if self.of else slide
        return f"{ours}.npy", f"{ours}.png", f"{theirs}.npz"


MASK_ENDINGS = (".png", ".ome.tiff", ".ome.tif", ".tiff", ".tif", ".npy")
Scale = Literal["auto", "size", "mpp", "json"]


@attrs.frozen
class MaskOptions(Settings[Any]):
    """Options of masks that other programs or people made, `FOLDER/SLIDE.png`, `.tif`, `.npy` and so on."""

    install: ClassVar[str] = "slideloom-qc"
    folder: Path = option(help="folder with one mask per slide (.png, .tif, .tiff, .ome.tif or .npy)")
    suffix: str = option("", help='what follows the slide\'s name, such as "_mask" for a_mask.png')
    scale: Scale = option(
        "auto",
        help="how the mask lies on the slide: size (it covers it), mpp, json (the file beside it, with downsample and "
        "offset), or auto (json if there is one, else mpp if given, else size)",
    )
    mpp: float | None = option(None, help="microns per pixel of masks", unit="um/px", validator=optional(positive))
    classes: tuple[str, ...] = option(
        (), help="names of values, such as 0=glass and 1=tumor; without, masks have two values, and zero is nothing"
    )
    labels: Path | None = option(None, help='the same as a JSON file, {"tumor": 1, "stroma": 2}')
    max_px: int = option(
        8192, help="width and height to read at most; of larger masks, a smaller level or fewer pixels", unit="px",
        validator=in_range(16, 65536),
    )  # fmt: skip

    def check(self) -> None:
        """Look for the folder; a mask that a slide has not got is that slide's matter."""
        super().check()
        if not self.folder.is_dir():
            raise ConfigError(f"{self.folder}: no such folder of masks")

    def __attrs_post_init__(self) -> None:
        if self.scale == "mpp" and self.mpp is None:
            raise OptionError("mpp", "is missing: scale is 'mpp'")
        if self.classes and self.labels is not None:
            raise OptionError("labels", "does not go with classes: give one of them")

    def files_for(self, slide: str) -> Sequence[Path]:
        """The slide's mask and the JSON file beside it."""
        names = [f"{slide}{self.suffix}{ending}" for ending in (*MASK_ENDINGS, ".json")]
        return [path for name in names if (path := self.folder / name).is_file()]


@attrs.frozen
class MaskFiles(MaskOptions):
    """Use masks that other programs or people made: PNG, TIFF (also pyramids and OME-TIFF) or NumPy."""

    name: ClassVar[str] = "mask-files"
    step: ClassVar[str] = "slideloom_qc.mask_steps:MaskFilesQc"
    nonzero: Literal["discard", "keep"] | None = option(
        None, help="what pixels other than zero are, in masks without classes; must be told for these"
    )
    kind: Literal["background", "blur", "artifact"] = option(
        "background", help="kind of what is discarded; of classes, each says its own, such as 0=glass:background"
    )
    missing: Literal["error", "count"] = option(
        "error", help="a slide without a mask fails (error), or nothing of it is discarded and its report counts it"
    )

    def check(self) -> None:
        """Look whether it is said what pixels mean."""
        super().check()
        if self.nonzero is None and not self.classes and self.labels is None:
            raise ConfigError(
                f'qc \'{self.name}\': say what pixels other than zero are: nonzero = "keep" (tissue) or "discard"; '
                "or name the values by classes"
            )


@attrs.frozen
class MaskRegions(MaskOptions):
    """Regions of interest from masks: the outline of each connected area of a class."""

    name: ClassVar[str] = "mask-files"
    step: ClassVar[str] = "slideloom_qc.mask_steps:MaskRegionsSource"
    region_label: str | None = option(None, help="label of the regions of masks without classes")
    min_area_um2: float = option(0.0, help="smaller areas are left out", unit="um2", validator=at_least(0))
    missing: Literal["error", "count"] = option(
        "count", help="a slide without a mask fails (error), or is one without regions"
    )
