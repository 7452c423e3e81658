"""Stain normalizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slideloom import OPENCV, Library, Normalizer, Settings, hookimpl

from slideloom_stain.settings import (
    HsvAugment,
    Macenko,
    MacenkoFast,
    Reinhard,
    ReinhardFast,
    ReinhardFastMask,
    ReinhardFastTissue,
    ReinhardMask,
    ReinhardTissue,
    StainAugment,
    Vahadane,
)


@hookimpl
def slideloom_normalizers() -> Sequence[type[Settings[Normalizer]]]:
    """The normalizers of this plugin."""
    return [
        Macenko,
        MacenkoFast,
        Reinhard,
        ReinhardFast,
        ReinhardMask,
        ReinhardFastMask,
        ReinhardTissue,
        ReinhardFastTissue,
        Vahadane,
        HsvAugment,
        StainAugment,
    ]


@hookimpl
def slideloom_synonyms() -> Mapping[str, Mapping[str, str | Sequence[str]]]:
    """What Slideflow calls them: its augmentation, and the two libraries that it factorises with."""
    return {
        "normalizer": {
            "augment": HsvAugment.name,
            "vahadane-spams": Vahadane.name,
            "vahadane-sklearn": Vahadane.name,
        }
    }


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on, and its compiled loops."""
    return [
        OPENCV,
        Library(
            "slideloom_stain._kernels",
            "--force-reinstall slideloom-stain with a C compiler; without it, results are the same but slower",
            "compiled loops of the stain normalizers",
            needed=False,
        ),
    ]
