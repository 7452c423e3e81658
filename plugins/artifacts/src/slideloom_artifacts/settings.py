"""Options of the step; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import attrs
from attrs import evolve, frozen
from slideloom import QcClass, Settings, SlideQc, at_least, in_range, option, positive

# The order of the network's outputs, with the kind of each and its threshold by default.
CLASSES = (
    QcClass(0, "tissue"),
    QcClass(1, "background", "background"),
    QcClass(2, "fold", "artifact"),
    QcClass(3, "bubble", "artifact"),
    QcClass(4, "pen", "artifact"),
    QcClass(5, "dust", "artifact"),
    QcClass(6, "out-of-focus", "blur"),
)


def _names(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _known(_instance: Any, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:  # Any: as attrs has it
    known = [one.name for one in CLASSES if one.kind is not None]
    if unknown := [name for name in value if name not in known]:
        raise ValueError(f"{attribute.name} must be of {', '.join(known)}, not {unknown[0]!r}")


@frozen
class Artifacts(Settings[SlideQc]):
    """Tells tissue, glass, folds, bubbles, pen, dust and blur apart with a bundled network, in one run."""

    name: ClassVar[str] = "artifacts"
    step: ClassVar[str] = "slideloom_artifacts.artifacts:ArtifactsQc"
    install: ClassVar[str] = "slideloom-artifacts[torch]"
    needs: ClassVar[tuple[str, ...]] = ("torch", "safetensors")
    revision: ClassVar[int] = 3  # a smaller network

    mpp: float = option(
        4.0, help="resolution of the network's input; classes are told at half of it", unit="um/px", validator=positive
    )
    background: float = option(
        0.6, help="drop a tile if more than this share of it is glass", validator=in_range(0, 1), live=True
    )
    fold: float = option(0.2, help="the same for folds", validator=in_range(0, 1), live=True)
    bubble: float = option(
        0.2, help="the same for air bubbles and edges of the coverslip", validator=in_range(0, 1), live=True
    )
    pen: float = option(0.1, help="the same for ink", validator=in_range(0, 1), live=True)
    dust: float = option(0.2, help="the same for dust, fibres and dark spots", validator=in_range(0, 1), live=True)
    out_of_focus: float = option(0.5, help="the same for strong defocus", validator=in_range(0, 1), live=True)
    keep: tuple[str, ...] = option(
        ("fold", "bubble"),
        help="classes that are told and outlined but drop no tile; by default those with many false alarms",
        converter=_names,
        validator=_known,
        live=True,
    )
    batch: int = option(1, help="blocks per call of the network", validator=at_least(1), affects_output=False)
    device: str = option("auto", help='"auto" (CUDA, then MPS, then CPU) or a PyTorch device', affects_output=False)

    def qc_classes(self) -> tuple[QcClass, ...]:
        """The classes of the network with the thresholds of these options."""
        return tuple(
            one
            if one.kind is None
            else evolve(
                one,
                kind=None if one.name in self.keep else one.kind,
                threshold=getattr(self, one.name.replace("-", "_")),
            )
            for one in CLASSES
        )
