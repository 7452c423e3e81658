"""The CycleGAN normalizer."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Normalizer, Settings, hookimpl

from slideloom_cyclegan.settings import CycleGan


@hookimpl
def slideloom_normalizers() -> Sequence[type[Settings[Normalizer]]]:
    """The CycleGAN normalizer."""
    return [CycleGan]
