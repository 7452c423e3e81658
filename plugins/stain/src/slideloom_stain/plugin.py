"""Stain normalizers."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import OPENCV, Library, Normalizer, Settings, hookimpl

from slideloom_stain.settings import (
    HsvAugment,
    Macenko,
    MacenkoFast,
    Reinhard,
    ReinhardFast,
    ReinhardFastMask,
    ReinhardMask,
    Vahadane,
)


@hookimpl
def slideloom_normalizers() -> Sequence[type[Settings[Normalizer]]]:
    """The normalizers of this plugin."""
    return [Macenko, MacenkoFast, Reinhard, ReinhardFast, ReinhardMask, ReinhardFastMask, Vahadane, HsvAugment]


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on."""
    return [OPENCV]
