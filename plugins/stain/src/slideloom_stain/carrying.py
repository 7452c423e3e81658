"""The way back from a step to its settings, by which a fitted normalizer reaches pipelines and other processes."""

from __future__ import annotations

from typing import Any

from slideloom import ConfigError, Normalizer, Settings, registry

from slideloom_stain.settings import HsvAugment
from slideloom_stain.step import HsvStep, StainStep


def settings_of(step: StainStep | HsvStep) -> Settings[Normalizer]:
    """The settings that `build` such a step, with the values of its fit as the target.

    Raises:
        ConfigError: it has the statistics of one slide.
    """
    if isinstance(step, HsvStep):
        return HsvAugment(hue=step.hue, saturation=step.saturation, value=step.value, seed=step.seed)
    if step.slide_statistics is not None:
        raise ConfigError(
            f"{step.method.name}: the normalizer has the statistics of one slide, which hold for no other; call "
            "in_context(None), and use context = 'slide' for each slide's own"
        )
    options: dict[str, Any] = {"target": step.fit.as_table(), "context": step.context, "unfit": step.unfit}
    if step.augment != "off":
        options |= {"augment": step.augment, "around": step.around, "seed": step.seed}
    settings: Settings[Normalizer] = registry().find("normalizer", step.method.name)(**options)
    return settings
