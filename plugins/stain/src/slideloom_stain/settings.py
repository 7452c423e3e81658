"""The options of every stain normalizer."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal

from attrs import frozen
from slideloom import Normalizer, Settings, in_range, option

Unfitting = Literal["reject", "keep-original", "slide-fit"]
Context = Literal["tile", "slide"]
Spread = Literal["off", "v1", "v2"]
Around = Literal["target", "own"]

_TARGET_HELP = "preset, image, fit file (JSON), or table of a fit's values, whose staining is the target"
_CONTEXT_HELP = "measure each tile, or once the slide's thumbnail, excluding what QC and regions discard"
_UNFIT_HELP = "what happens to a tile whose stains cannot be estimated"
_AUGMENT_HELP = "draw a random target for each tile, with the spread of this preset"
_AROUND_HELP = "draw it around the target, or around the tile's own staining, which is then varied and not normalized"
_IMAGE_HELP = "image, or fit file (JSON) of this method, whose staining is the target"
_SEED_HELP = "seed of the random draws; the same seed, slide and tile give the same result"


class _LibraryFront:
    """Lets `slideloom.StainNormalizer` find the class for use as a library, which is named here like a step."""

    name: ClassVar[str]
    front: ClassVar[str] = "slideloom_stain.normalizer"

    @classmethod
    def library_front(cls, **options: Any) -> Any:  # Any: the core knows nothing of this plugin's classes
        """The object that `slideloom.StainNormalizer(name, **options)` uses."""
        return import_module(cls.front).StainNormalizer(cls.name, **options)


@frozen
class TargetSettings(_LibraryFront, Settings[Normalizer]):
    """Options of every method with a target."""

    step: ClassVar[str] = "slideloom_stain.step:stain_step"
    checked_by: ClassVar[str] = "slideloom_stain.step:stain_step"  # which reads the target, at little cost
    install: ClassVar[str] = "slideloom-stain"
    context: Context = option("tile", help=_CONTEXT_HELP)
    unfit: Unfitting = option("reject", help=_UNFIT_HELP)


@frozen
class StainSettings(TargetSettings):
    """Options of every method with a target and augmentation."""

    target: Literal["v1", "v2", "v3"] | Path | Mapping[str, Any] = option("v3", help=_TARGET_HELP)
    augment: Spread = option("off", help=_AUGMENT_HELP)
    around: Around = option("target", help=_AROUND_HELP)
    seed: int = option(0, help=_SEED_HELP)


@frozen
class Macenko(StainSettings):
    """Match both stain colours and their strengths to a target (Macenko 2009), after equalizing brightness."""

    name: ClassVar[str] = "macenko"
    revision: ClassVar[int] = 2


@frozen
class MacenkoFast(StainSettings):
    """Macenko without the brightness step."""

    name: ClassVar[str] = "macenko-fast"
    revision: ClassVar[int] = 2


@frozen
class Reinhard(StainSettings):
    """Match mean and spread of L*a*b* colours to a target (Reinhard 2001), after equalizing brightness."""

    name: ClassVar[str] = "reinhard"
    revision: ClassVar[int] = 2


@frozen
class ReinhardFast(StainSettings):
    """Reinhard without the brightness step."""

    name: ClassVar[str] = "reinhard-fast"
    revision: ClassVar[int] = 2


@frozen
class ReinhardMask(StainSettings):
    """Reinhard, but white pixels are not changed; they are measured, as in the presets."""

    name: ClassVar[str] = "reinhard-mask"
    revision: ClassVar[int] = 3


@frozen
class ReinhardFastMask(StainSettings):
    """Reinhard-mask without the brightness step."""

    name: ClassVar[str] = "reinhard-fast-mask"
    revision: ClassVar[int] = 3


@frozen
class ReinhardTissue(TargetSettings):
    """Reinhard on tissue only: white pixels stay as they are and do not count. The presets do not fit it."""

    name: ClassVar[str] = "reinhard-tissue"
    revision: ClassVar[int] = 2
    target: Path | Mapping[str, Any] = option(help=_IMAGE_HELP)


@frozen
class ReinhardFastTissue(TargetSettings):
    """Reinhard-tissue without the brightness step."""

    name: ClassVar[str] = "reinhard-fast-tissue"
    revision: ClassVar[int] = 2
    target: Path | Mapping[str, Any] = option(help=_IMAGE_HELP)


@frozen
class Vahadane(TargetSettings):
    """Match the stain colours found by sparse non-negative factorisation to a target (Vahadane 2016)."""

    name: ClassVar[str] = "vahadane"
    revision: ClassVar[int] = 2
    target: Literal["v1", "v2"] | Path | Mapping[str, Any] = option("v2", help=_TARGET_HELP)


@frozen
class StainAugment(_LibraryFront, Settings[Normalizer]):
    """Vary each tile's own staining at random, by the published spread between slides; not a normalization."""

    name: ClassVar[str] = "stain-augment"
    revision: ClassVar[int] = 2
    step: ClassVar[str] = "slideloom_stain.step:augment_step"
    install: ClassVar[str] = "slideloom-stain"
    method: Literal["reinhard-fast", "reinhard", "macenko-fast", "macenko"] = option(
        "reinhard-fast", help="what varies: the L*a*b* colours, or the two stains"
    )
    spread: Literal["v1", "v2"] = option("v2", help="preset of the spread")
    seed: int = option(0, help=_SEED_HELP)


@frozen
class HsvAugment(_LibraryFront, Settings[Normalizer]):
    """Shift hue, saturation and value of each tile at random (Tellez 2019); an augmentation, not a normalization."""

    name: ClassVar[str] = "hsv-augment"
    step: ClassVar[str] = "slideloom_stain.step:hsv_step"
    install: ClassVar[str] = "slideloom-stain"
    hue: float = option(0.05, help="largest shift of the hue, up or down", unit="turns", validator=in_range(0, 0.5))
    saturation: float = option(0.2, help="largest relative change of saturation", validator=in_range(0, 1))
    value: float = option(0.2, help="largest relative change of brightness", validator=in_range(0, 1))
    seed: int = option(0, help=_SEED_HELP)
