"""Steps that are there as objects, not as settings: what a pipeline makes of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from attrs import frozen

from slideloom.base.errors import ConfigError
from slideloom.plugins.discovery import registry
from slideloom.settings.given import Given
from slideloom.settings.options import Settings, option
from slideloom.steps.normalizer import Normalizer
from slideloom.steps.slide_qc import SlideQc
from slideloom.steps.tile_filter import TileFilter

# What an object must be able to do to be a step of a kind; sinks and sources have folders, which settings say better.
_CONTRACTS: Mapping[str, tuple[type[Any], str]] = {
    "qc": (SlideQc, "assess"),
    "filter": (TileFilter, "check"),
    "normalizer": (Normalizer, "apply"),
}


@runtime_checkable
class KnowsSettings(Protocol):
    """An object that the same steps can be made of settings as, such as a fitted `slideloom.StainNormalizer`."""

    def to_settings(self) -> Settings[Any]:
        """The settings.

        Raises:
            ConfigError: it has a state that no settings can say.
        """


Step = str | Settings[Any] | Mapping[str, Any] | SlideQc | TileFilter | Normalizer | KnowsSettings
"""A step as "NAME" or "NAME:option=value,option=value", its settings, its entry in a pipeline's table, or an object."""


@frozen
class GivenStep(Settings[Any]):
    """A step that the caller made. It travels as it is, and counts by its class and its state."""

    name: ClassVar[str] = "given"
    given: Given = option(help="the step")

    @property
    def label(self) -> str:
        """The step's own `label` or `name`, if it has one, else the name of its class: "my-qc" for `MyQc`."""
        for word in ("label", "name"):
            said = getattr(self.given.value, word, None)
            if isinstance(said, str) and said:
                return said
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(self.given.value).__name__).lower()

    def build(self) -> Any:
        """The step itself."""
        return self.given.value


def is_object(kind: str, step: object) -> bool:
    """True for what is a step of a kind by what it can do: an instance of the contract, or slide QC that can assess."""
    if kind not in _CONTRACTS or isinstance(step, type | Settings):
        return False
    contract, method = _CONTRACTS[kind]
    return isinstance(step, contract) or (kind == "qc" and callable(getattr(step, method, None)))


def settings_of(kind: str, step: object, *, travels: bool = True) -> Settings[Any]:
    """The settings that stand for a step which is neither a name nor a table.

    Args:
        kind: of step.
        step: settings, or an object.
        travels: False where an object is used at once, and may be one that no other process can make.

    Raises:
        ConfigError: it is no step of the kind, or cannot be made again elsewhere.
    """
    if isinstance(step, Settings):
        return step
    if not isinstance(step, type) and isinstance(step, KnowsSettings):
        return step.to_settings()
    if is_object(kind, step):
        return GivenStep(given=Given.of(step) if travels else Given(step))
    wanted = f"the name of a {kind}, its settings"
    if kind in _CONTRACTS:
        contract, method = _CONTRACTS[kind]
        wanted += f", or an object with the method {method} (slideloom.{contract.__name__})"
    what = f"the class {step.__name__}; make an object of it" if isinstance(step, type) else repr(step)
    raise ConfigError(f"must be {wanted}, not {what} (known: {', '.join(registry().names(kind))})")


def steps_in(given: Any) -> list[Any]:
    """One step, or several, or none, as a list."""
    if given is None:
        return []
    is_several = isinstance(given, Sequence) and not isinstance(given, str | Settings)
    return list(given) if is_several else [given]
