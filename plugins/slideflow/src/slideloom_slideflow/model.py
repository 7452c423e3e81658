"""`ModelParams`, as far as it says which tiles a model sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slideloom
from slideloom.plugins.shorthand import step_settings

from slideloom_slideflow.adapting import Refusing, adapted, refuse
from slideloom_slideflow.norm import StainNormalizer, autoselect, our_name
from slideloom_slideflow.table import rows


class ModelParams(Refusing):
    """Tile size and normalizer of a model, and whatever else is to be kept beside it.

    Hyperparameters of training are kept and written down; nothing here trains.
    """

    peer = "ModelParams"

    @adapted("ModelParams")
    def __init__(
        self,
        *,
        tile_px: int = 299,
        tile_um: float | str = 302,
        normalizer: str | None = None,
        normalizer_source: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.tile_px, self.tile_um = tile_px, tile_um
        self.normalizer, self.normalizer_source = normalizer, normalizer_source
        self.others = kwargs

    def __getattr__(self, name: str) -> Any:  # Any: whatever was given
        others = self.__dict__.get("others", {})
        return others[name] if name in others else super().__getattr__(name)

    def __repr__(self) -> str:
        return f"<ModelParams {self.tile_px} px, {self.tile_um}, {self.normalizer or 'no normalizer'}>"

    @adapted("ModelParams.to_dict")
    def to_dict(self) -> dict[str, Any]:
        """What was given, and tile size and normalizer in any case."""
        return {
            "tile_px": self.tile_px,
            "tile_um": self.tile_um,
            **self.others,
            "normalizer": self.normalizer,
            "normalizer_source": self.normalizer_source,
        }

    @adapted("ModelParams.get_dict")
    def get_dict(self) -> dict[str, Any]:
        """The same under its older name."""
        return self.to_dict()

    @classmethod
    def from_dict(cls, hp_dict: dict[str, Any]) -> ModelParams:
        """The parameters that `to_dict` gave."""
        return cls(**hp_dict)

    @adapted("ModelParams.get_normalizer")
    def get_normalizer(self, **kwargs: Any) -> StainNormalizer | None:
        """The normalizer, with its target; None if there is none."""
        return None if self.normalizer is None else autoselect(self.normalizer, self.normalizer_source)

    def save_params(self, path: str | Path, **more: Any) -> Path:
        """Write `params.json` beside a model; this is slideloom's own call.

        Args:
            path: the file, or the model's folder.
            more: anything else worth keeping that JSON can say, such as `outcomes`.
        """
        normalizer = None
        if self.normalizer is not None:
            options = {} if self.normalizer_source is None else {"target": self.normalizer_source}
            normalizer = step_settings("normalizer", our_name(self.normalizer), options)
        return slideloom.save_params(
            path, tile_px=self.tile_px, tile_um=self.tile_um, normalizer=normalizer, hp=self.to_dict(), **more
        )


def __getattr__(name: str) -> object:
    if f"model.{name}" in rows():
        refuse(f"model.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
