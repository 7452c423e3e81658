"""`params.json` beside a model: the tiles it was trained on, so that nothing else is fed to it.

The layout is Slideflow's: `tile_px`, `tile_um`, `hp.normalizer`, `hp.normalizer_source` and `norm_fit`, the fitted
values. Our own file says more under `slideloom`: all options of the normalizer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import slideloom
from attrs import field, frozen
from slideloom.base.errors import ConfigError, SlideloomError
from slideloom.base.storing import storing_in, utf8, write_whole
from slideloom.pipeline.from_words import tiling_from_words
from slideloom.pipeline.fronts import PYTHON, WordFront
from slideloom.pipeline.pipeline import Pipeline
from slideloom.pipeline.tiling import Tiling
from slideloom.plugins.shorthand import step_settings
from slideloom.settings.options import Settings, options_of
from slideloom.settings.tables import to_table

if TYPE_CHECKING:
    from slideloom import StainNormalizer

PARAMS_FILE = "params.json"
_TOLERANCE = 1e-9  # JSON keeps every digit of a float64; files of others may be rounded


@runtime_checkable
class FittedNormalizer(Protocol):
    """A normalizer in hand whose target is known, such as a fitted `slideloom.StainNormalizer`."""

    method: str

    @property
    def fit_values(self) -> dict[str, Any]:
        """The target's values as lists."""


@frozen
class Params:
    """What a model was trained on.

    Attributes:
        path: the file.
        tile_px: width and height of a tile in pixels.
        tile_um: width in microns, or a magnification such as "10x".
        normalizer: settings whose `build()` is the normalizer the model was trained with, or None.
        table: all that the file says.
    """

    path: Path
    tile_px: int
    tile_um: float | str
    normalizer: Settings[Any] | None
    table: Mapping[str, Any] = field(hash=False, repr=False)

    @property
    def tiling(self) -> Tiling:
        """The size of tiles, with everything else at its default."""
        return tiling_of(self.tile_px, self.tile_um)

    def stain_normalizer(self) -> StainNormalizer | None:
        """The normalizer for images and tensors in hand, by their own statistics; None if there is none."""
        if self.normalizer is None:
            return None
        made = slideloom.StainNormalizer(self.normalizer.name)
        return made.fit(self.path) if self.table.get("norm_fit") else made

    def differences(self, tiling: Tiling, normalizer: Settings[Any] | None) -> list[str]:
        """What differs from the model's tiles, such as "tile_um: 302 for the model, 256 here"; empty if they agree."""
        ours, mine = self.tiling, tiling
        lines = []
        if ours.size_px != mine.size_px:
            lines.append(f"tile_px: {ours.size_px} for the model, {mine.size_px} here")
        if ours.label.split("_")[1] != mine.label.split("_")[1]:
            lines.append(f"tile_um: {ours.label.split('_')[1]} for the model, {mine.label.split('_')[1]} here")
        return lines + _normalizer_differences(self.normalizer, normalizer)

    def check(self, pipeline: Pipeline) -> None:
        """Raise `ConfigError` unless a pipeline makes tiles as the model was trained on."""
        lines = self.differences(pipeline.tiles, pipeline.normalizer)
        if lines:
            listed = "\n  ".join(lines)
            raise ConfigError(
                f"{self.path}: the model was trained on other tiles:\n  {listed}\n"
                "extract with the model's settings, or leave params out"
            )


def tiling_of(tile_px: int, tile_um: float | str, *, front: WordFront = PYTHON) -> Tiling:
    """The tiling with `tile_um` in microns or as a magnification such as "10x".

    Raises:
        ConfigError: a value is wrong.
    """
    return tiling_from_words({"tile_px": tile_px, "tile_um": tile_um}, front=front)


def _normalizer_differences(model: Settings[Any] | None, here: Settings[Any] | None) -> list[str]:
    names = [None if settings is None else settings.name for settings in (model, here)]
    if names[0] != names[1]:
        return [f"normalizer: {names[0] or 'none'} for the model, {names[1] or 'none'} here"]
    if model is None or here is None:
        return []
    lines = []
    if not _same_fit(model.build().fit_table(), here.build().fit_table()):
        lines.append(f"normalizer: {names[0]} with another target")
    for name, info in options_of(type(model)).items():
        before, after = getattr(model, name), getattr(here, name, None)
        if name != "target" and info.affects_output and before != after:
            lines.append(f"normalizer.{name}: {before} for the model, {after} here")
    return lines


def _same_fit(first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> bool:
    if first is None or second is None:
        return first is None and second is None
    return first.keys() == second.keys() and all(
        np.shape(first[key]) == np.shape(second[key])
        and np.allclose(first[key], second[key], rtol=_TOLERANCE, atol=_TOLERANCE)
        for key in first
    )


def save_params(
    path: Path | str,
    *,
    tiling: Tiling | None = None,
    tile_px: int | None = None,
    tile_um: float | str | None = None,
    normalizer: str | Settings[Any] | FittedNormalizer | None = None,
    **more: Any,
) -> Path:
    """Write `params.json`.

    Args:
        path: the file, or the model's folder.
        tiling: size of tiles; or
        tile_px, tile_um: the same as numbers, or with a magnification such as "10x".
        normalizer: name or settings of the normalizer that the model sees tiles through, or the fitted
            `StainNormalizer` itself, or None.
        more: anything else worth keeping that JSON can say, such as `outcomes`.

    Returns:
        The file.

    Raises:
        ConfigError: a size is missing, or the normalizer does not exist.
        OutputError: the file cannot be written.
    """
    from slideloom import __version__

    if tiling is None:
        if tile_px is None or tile_um is None:
            raise ConfigError("save_params needs tile_px and tile_um")
        tiling = tiling_of(tile_px, tile_um)
    size: Any = tiling.magnification if tiling.size_um is None else tiling.size_um
    if isinstance(size, float) and size.is_integer():
        size = int(size)
    name, source, fit, own = _described(normalizer)
    table: dict[str, Any] = {
        **more,
        "tile_px": tiling.size_px,
        "tile_um": size,
        "hp": {**more.get("hp", {}), "normalizer": name and name.replace("-", "_"), "normalizer_source": source},
        "norm_fit": fit,
        "slideloom": {"version": __version__, "normalizer": own},
    }
    target = Path(path)
    if target.suffix.lower() != ".json":
        target = target / PARAMS_FILE
    with storing_in(target.parent):
        write_whole(target, utf8(json.dumps(table, indent=1, ensure_ascii=False) + "\n"))
    return target


def _described(
    normalizer: str | Settings[Any] | FittedNormalizer | None,
) -> tuple[str | None, str | None, Mapping[str, Any] | None, dict[str, Any] | None]:
    """Name, source, fit and own options of a normalizer."""
    if normalizer is None:
        return None, None, None, None
    if isinstance(normalizer, FittedNormalizer):
        return normalizer.method, None, normalizer.fit_values, None
    settings = step_settings("normalizer", normalizer) if isinstance(normalizer, str) else normalizer
    target = getattr(settings, "target", None)
    source = None if target is None or isinstance(target, Mapping) else str(target) or None
    return settings.name, source, settings.build().fit_table(), {"use": settings.name, **to_table(settings)}


def load_params(path: Path | str) -> Params:
    """Read `params.json` (or the one in a model's folder), also those that Slideflow wrote.

    Raises:
        ConfigError: there is none, it is not one, or its normalizer cannot be made again.
    """
    file = Path(path)
    if file.is_dir():
        file = file / PARAMS_FILE
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{file}: cannot be read: {error.strerror}; name a params.json or a model's folder"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{file}: is not JSON ({error})") from error
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: is not a params.json")
    hp = table.get("hp") or {}
    px, um = table.get("tile_px", hp.get("tile_px")), table.get("tile_um", hp.get("tile_um"))
    if px is None or um is None:
        raise ConfigError(f"{file}: is not a params.json: tile_px or tile_um is missing")
    return Params(file, int(px), um if isinstance(um, str) else float(um), _rebuilt(file, table, hp), table)


def _rebuilt(file: Path, table: Mapping[str, Any], hp: Mapping[str, Any]) -> Settings[Any] | None:
    own = (table.get("slideloom") or {}).get("normalizer") or {}
    name = own.get("use") or hp.get("normalizer")
    if not name:
        return None
    options = {key: value for key, value in own.items() if key != "use"}
    if table.get("norm_fit"):
        options["target"] = str(file.absolute())  # the fit in this file, whatever it was made from
    elif not own and hp.get("normalizer_source"):
        options["target"] = hp["normalizer_source"]
    try:
        return step_settings("normalizer", str(name), options)
    except SlideloomError as error:
        raise ConfigError(f"{file}: its normalizer cannot be made again: {error}") from error
