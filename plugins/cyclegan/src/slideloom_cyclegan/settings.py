"""Options of the CycleGAN normalizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from attrs import frozen
from slideloom import ConfigError, Normalizer, Settings, at_least, option

Direction = Literal["he2mt", "mt2he"]

PUBLISHED = ("cyclegan_he2mt.pth", "cyclegan_mt2he.pth")
"""The published files of the two directions."""

_REMEDY = (
    'set weights = "published" to download the generators of Zingman et al. from the Hugging Face hub, '
    "or give the path of a .pth or .safetensors file"
)


@frozen
class CycleGan(Settings[Normalizer]):
    """Normalize H&E via Masson's trichrome with two CycleGAN generators, or translate one way.

    `he2mt2he` is the normalizer: every H&E tile is translated to trichrome and back to H&E, with the staining on which
    the generators were trained. `he2mt` and `mt2he` are virtual stains in one direction.
    """

    name: ClassVar[str] = "cyclegan"
    step: ClassVar[str] = "slideloom_cyclegan.normalizer:CycleGanNormalizer"
    install: ClassVar[str] = "slideloom-cyclegan[torch]"
    needs: ClassVar[tuple[str, ...]] = ("torch",)
    checked_by: ClassVar[str] = "slideloom_cyclegan.weights:check_weights"

    weights: Literal["published"] | Path | None = option(
        None,
        help='"published", or the .pth or .safetensors file of the direction\'s (first) generator',
    )
    second_weights: Path | None = option(
        None, help="the file of the mt2he generator, for direction he2mt2he with your own weights"
    )
    direction: Literal["he2mt2he", "he2mt", "mt2he"] = option(
        "he2mt2he", help="H&E via trichrome to H&E, H&E to trichrome, or trichrome to H&E"
    )
    device: str = option(
        "auto", help='"auto" (CUDA, then MPS, then CPU) or a PyTorch device such as "cuda:1"', affects_output=False
    )
    half: bool = option(False, help="compute in half precision if the device is CUDA")
    batch: int = option(
        1, help="tiles per forward pass; at 1, a tile's bytes never depend on other tiles", validator=at_least(1)
    )

    @classmethod
    def options_of_fit(cls, fit: Mapping[str, Any]) -> Mapping[str, Any]:
        """The options for the `norm_fit` of a params.json, which names a file of each generator.

        A file that is not here, but has the name of a published one, was a download of another machine.
        """
        files = [fit.get(f"{direction}_weights") for direction in ("he2mt", "mt2he")]
        here = [file for file in files if file and Path(str(file)).is_file()]
        published = all(
            file is None or Path(str(file)).name == name for file, name in zip(files, PUBLISHED, strict=True)
        )
        if published and len(here) < len(files):
            return {"weights": "published"}
        return {"weights": files[0], "second_weights": files[1]}

    def steps(self) -> tuple[Direction, ...]:
        """The generators to apply, in order."""
        return ("he2mt", "mt2he") if self.direction == "he2mt2he" else (self.direction,)

    def files(self) -> tuple[Literal["published"] | Path, ...]:
        """One source of weights per step.

        Raises:
            ConfigError: weights are missing, or there are too many or too few for the direction.
        """
        if self.weights is None:
            raise ConfigError(f"cyclegan: no weights given; {_REMEDY}")
        if self.weights == "published":
            if self.second_weights is not None:
                raise ConfigError(
                    'cyclegan: weights = "published" brings both generators; leave second_weights out, '
                    "or give both files"
                )
            return tuple(self.weights for _ in self.steps())
        given = (self.weights,) if self.second_weights is None else (self.weights, self.second_weights)
        if len(given) < len(self.steps()):
            raise ConfigError(
                "cyclegan: direction he2mt2he takes two files: weights (he2mt) and second_weights (mt2he); "
                f"second_weights is missing; or {_REMEDY}"
            )
        if len(given) > len(self.steps()):
            raise ConfigError(f"cyclegan: direction {self.direction} takes one file; leave second_weights out")
        return given
