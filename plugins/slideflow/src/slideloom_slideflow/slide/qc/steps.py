"""What all QC objects of the drop-in share: each is one of slideloom's slide QC steps, and gives a mask when called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import slideloom
from slideloom import ConfigError, Mask, QcResult, Scene, Settings, Slide, SlideQc
from slideloom.plugins.shorthand import step_settings

_MEANT = {"both": ("gaussian-v2", "otsu"), "blur": ("gaussian-v2",), "otsu": ("otsu",)}


class HasOurs(Protocol):
    """An object that stands for a slide in hand, such as the drop-in's `WSI`."""

    @property
    def ours(self) -> slideloom.WSI:
        """The slide."""
        ...


class QcObject(SlideQc):
    """Slide QC that can be called with a slide in hand."""

    def found_on(self, wsi: HasOurs) -> QcResult:
        """What the step finds on a slide; no tile is dropped."""
        ours = wsi.ours
        return self.assess(ours.slide, Scene(ours.geometry, ours.regions if ours.regions.items else None))

    def __call__(self, wsi: HasOurs) -> Any:  # Any: a mask, or what a subclass says
        """The mask: (h, w) bool, True where the slide is discarded."""
        mask: Mask = self.found_on(wsi).mask
        return mask


class NamedQc(QcObject):
    """A step that settings of slideloom make: pipelines store these, and reports call it by their name."""

    def __init__(self, settings: Settings[SlideQc]) -> None:
        self._settings = settings

    def to_settings(self) -> Settings[SlideQc]:
        """The settings."""
        return self._settings

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """See `SlideQc.assess`."""
        return self._settings.build().assess(slide, scene)


def settings_named(name: str, **options: Any) -> Settings[SlideQc]:
    """The settings of one of slideloom's QC steps; options that are None keep their default."""
    given = {key: value for key, value in options.items() if value is not None}
    found: Settings[SlideQc] = step_settings("qc", name, given)
    return found


def named_steps(name: str) -> tuple[str, ...]:
    """Our names of the steps that one of Slideflow's names stands for.

    Raises:
        ConfigError: it is none of these.
    """
    if name not in _MEANT:
        raise ConfigError(f"qc: {name!r} is neither a QC object nor one of {', '.join(_MEANT)}")
    return _MEANT[name]


def as_list(qc: Any) -> list[Any]:
    """What was given for `qc`: nothing, one step, or several in order."""
    if qc is None:
        return []
    return list(qc) if isinstance(qc, Sequence) and not isinstance(qc, str) else [qc]
