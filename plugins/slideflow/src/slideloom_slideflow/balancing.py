"""Balanced sampling by Slideflow's strategies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import slideloom
from attrs import field, frozen
from slideloom import ConfigError

from slideloom_slideflow.adapting import NotOffered
from slideloom_slideflow.labelling import labels_of

_STRATEGIES = {"category": ("label", "slide"), "patient": ("patient",), "slide": ("slide",), "tile": (), None: ()}


@frozen
class Balance:
    """What loaders draw alike.

    Attributes:
        by: as `slideloom.Dataset.balance` takes it, from the outside in.
        categories: category by slide, where these are drawn alike.
    """

    by: tuple[str, ...] = ()
    categories: Mapping[str, str] = field(factory=dict, hash=False)

    def check(self, labels: Mapping[str, object]) -> None:
        """Refuse labels that divide slides in another way than the categories that are balanced.

        Raises:
            ConfigError: they do.
        """
        if not self.categories:
            return
        if not labels:
            raise ConfigError("balance(strategy='category') needs labels: give the same column to the loader")
        pairs = {(self.categories[slide], str(labels[slide])) for slide in self.categories if slide in labels}
        for side in zip(*pairs, strict=True):
            if len(set(side)) != len(pairs):
                raise NotOffered("balancing by another column than the loader's labels is not offered: balance by it")


def balance_of(dataset: slideloom.Dataset, headers: Sequence[str], strategy: str | None) -> Balance:
    """The balance that a strategy asks for.

    Raises:
        ConfigError: there is no such strategy, or no column where one is needed.
    """
    if strategy not in _STRATEGIES:
        known = ", ".join(str(name) for name in _STRATEGIES)
        raise ConfigError(f"balance: no strategy '{strategy}' (known: {known})")
    if strategy != "category":
        return Balance(_STRATEGIES[strategy])
    if not headers:
        raise ConfigError("balance: strategy='category' needs a column; or use strategy='patient', 'slide' or 'tile'")
    return Balance(_STRATEGIES[strategy], labels_of(dataset, headers).names)
