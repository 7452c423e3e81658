"""The way back from a step to its settings, by which a fitted normalizer reaches pipelines and other processes."""

from __future__ import annotations

from typing import Any

import attrs
from slideloom import ConfigError, Normalizer, Settings, registry

from slideloom_stain.step import HsvStep, StainStep


def settings_of(name: str, step: StainStep | HsvStep) -> Settings[Normalizer]:
    """The settings that `build` such a step, with the values of its fit as the target.

    Args:
        name: of the normalizer.
        step: as it is now.

    Raises:
        ConfigError: it has the statistics of one slide, or another state that no settings give.
    """
    if isinstance(step, StainStep) and step.slide_statistics is not None:
        raise ConfigError(
            f"{name}: the normalizer has the statistics of one slide, which hold for no other; call in_context(None), "
            "and use context = 'slide' for each slide's own"
        )
    known = attrs.asdict(step, recurse=False)
    if isinstance(step, StainStep):
        known |= {"target": step.fit.as_table(), "method": step.method.name, "spread": step.augment}
    cls = registry().find("normalizer", name)
    settings: Settings[Normalizer] = cls(
        **{option: value for option, value in known.items() if option in attrs.fields_dict(cls)}
    )
    built: Any = settings.build()
    if attrs.evolve(built, seed=step.seed) != step:  # a method that draws nothing has no option for the seed
        raise ConfigError(f"{name}: no settings give the normalizer as it is now; give the settings of a normalizer")
    return settings
