"""Which normalizer a loader has: by name, settings or a fitted object; and whether it can be built at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from slideloom.base.errors import ConfigError
from slideloom.plugins.given_steps import KnowsSettings
from slideloom.plugins.shorthand import step_settings
from slideloom.settings.options import Settings
from slideloom.steps.normalizer import Normalizer

from slideloom_loaders.augmenting import Augmentation
from slideloom_loaders.preparing import check_tile_based, draws, with_stain

Given = str | Settings[Any] | KnowsSettings | None  # what a loader takes as its normalizer


def loader_normalizer(
    given: Given, *, source: str | Path | None, augmentation: Augmentation
) -> tuple[Settings[Normalizer] | None, Augmentation]:
    """The settings of a loader's normalizer, and the augmentation, whose staining it may draw by itself.

    What is missing to build the normalizer is said here.

    Args:
        given: name, settings, or a fitted normalizer.
        source: the target of a normalizer given by name: a preset, an image or a fit file.
        augmentation: may ask for drawn staining.

    Raises:
        ConfigError: an option is wrong, or something that it needs is missing.
        PluginError: there is no such normalizer, or it needs a library that is not installed.
    """
    if source is not None and not isinstance(given, str):
        raise ConfigError("normalizer_source goes with a normalizer given by name, such as macenko")
    settings: Settings[Normalizer] | None
    if isinstance(given, str):
        settings = step_settings("normalizer", given, {} if source is None else {"target": str(source)})
    elif given is None or isinstance(given, Settings):
        settings = given
    elif isinstance(given, KnowsSettings):
        settings = given.to_settings()
    else:
        raise ConfigError(f"normalizer must be a name, settings or a fitted normalizer, not {type(given).__name__}")
    check_tile_based(settings)
    augmentation = attrs.evolve(augmentation, stain=augmentation.stain or draws(settings))
    if augmentation.stain:
        settings = with_stain(settings, step_settings("normalizer", "hsv-augment"))
    if settings is not None:
        # Workers would tell late what is missing. It is not built here: a GPU that this process has used is lost to
        # workers that it forks.
        settings.check()
    return settings, augmentation
