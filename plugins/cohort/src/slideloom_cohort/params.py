"""`params.json` beside a model: it records the tiles that the model was trained on, so that it gets no other ones.

The format is Slideflow's: `tile_px`, `tile_um`, `hp.normalizer`, `hp.normalizer_source` and `norm_fit`, the fitted
values. We add a table `slideloom` with all options of the normalizer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import slideloom
from attrs import field, frozen
from slideloom.base.addresses import local_path
from slideloom.base.errors import ConfigError, SlideloomError
from slideloom.base.parsing import parse_json
from slideloom.base.storing import storing_in, utf8, write_whole
from slideloom.pipeline.from_words import tiling_from_words
from slideloom.pipeline.fronts import PYTHON, WordFront
from slideloom.pipeline.pipeline import Pipeline
from slideloom.pipeline.tiling import Tiling
from slideloom.plugins.discovery import registry
from slideloom.plugins.shorthand import step_settings
from slideloom.settings.options import Settings, options_of
from slideloom.settings.tables import to_table

if TYPE_CHECKING:
    from slideloom import StainNormalizer

log = logging.getLogger(__name__)

PARAMS_FILE = "params.json"
_TOLERANCE = 1e-9  # JSON keeps every digit of a float64, but other programs may round


@runtime_checkable
class FittedNormalizer(Protocol):
    """A normalizer with a known target, such as a fitted `slideloom.StainNormalizer`."""

    method: str

    @property
    def fit_values(self) -> dict[str, Any]:
        """The target's values as lists."""


@runtime_checkable
class ReadsFits(Protocol):
    """Settings of a normalizer without an option `target` that take the values of a `norm_fit` otherwise."""

    @classmethod
    def options_of_fit(cls, fit: Mapping[str, Any]) -> Mapping[str, Any]:
        """The options that make the fitted normalizer again."""


@frozen
class Params:
    """The tiles that a model was trained on.

    Attributes:
        path: the file.
        tile_px: width and height of a tile in pixels.
        tile_um: width of a tile in microns, or a magnification such as "10x".
        normalizer: settings of the normalizer that the model was trained with, or None.
        table: the whole content of the file.
    """

    path: Path
    tile_px: int
    tile_um: float | str
    normalizer: Settings[Any] | None
    table: Mapping[str, Any] = field(hash=False, repr=False)

    @property
    def tiling(self) -> Tiling:
        """The tiling with this tile size, and defaults for everything else."""
        return tiling_of(self.tile_px, self.tile_um)

    def stain_normalizer(self) -> StainNormalizer | None:
        """The normalizer for images and tensors, which uses each image's own statistics; None if there is none."""
        if self.normalizer is None:
            return None
        if "target" not in options_of(type(self.normalizer)):
            return slideloom.StainNormalizer(self.normalizer.name, **_told(self.normalizer))
        made = slideloom.StainNormalizer(self.normalizer.name)
        return made.fit(self.path) if self.table.get("norm_fit") else made

    def differences(self, tiling: Tiling, normalizer: Settings[Any] | None) -> list[str]:
        """Differences from the model's tiles, such as "tile_um: 302 for the model, 256 here"; empty if none."""
        ours, mine = self.tiling, tiling
        lines = []
        if ours.size_px != mine.size_px:
            lines.append(f"tile_px: {ours.size_px} for the model, {mine.size_px} here")
        if ours.label.split("_")[1] != mine.label.split("_")[1]:
            lines.append(f"tile_um: {ours.label.split('_')[1]} for the model, {mine.label.split('_')[1]} here")
        return lines + _normalizer_differences(self.normalizer, normalizer)

    def check(self, pipeline: Pipeline) -> None:
        """Raise `ConfigError` unless a pipeline makes the kind of tiles that the model was trained on."""
        lines = self.differences(pipeline.tiles, pipeline.normalizer)
        if lines:
            listed = "\n  ".join(lines)
            raise ConfigError(
                f"{self.path}: the model was trained on other tiles:\n  {listed}\n"
                "extract with the model's settings, or leave params out"
            )


def tiling_of(tile_px: int, tile_um: float | str, *, front: WordFront = PYTHON) -> Tiling:
    """The tiling with this tile size; `tile_um` is in microns, or a magnification such as "10x".

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
        tiling: size of tiles; or give `tile_px` and `tile_um`.
        tile_px: width and height of a tile in pixels.
        tile_um: width of a tile in microns, or a magnification such as "10x".
        normalizer: name or settings of the model's normalizer, or the fitted `StainNormalizer` itself, or None.
        more: any other values to keep that JSON can hold, such as `outcomes`.

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
    target = local_path(path)
    if target.suffix.lower() != ".json":
        target = target / PARAMS_FILE
    with storing_in(target.parent):
        write_whole(target, utf8(json.dumps(table, indent=1, ensure_ascii=False) + "\n"))
    return target


def _described(
    normalizer: str | Settings[Any] | FittedNormalizer | None,
) -> tuple[str | None, str | None, Mapping[str, Any] | None, dict[str, Any] | None]:
    """Name, source, fit and options of a normalizer."""
    if normalizer is None:
        return None, None, None, None
    if isinstance(normalizer, FittedNormalizer):
        return normalizer.method, None, normalizer.fit_values, None
    settings = step_settings("normalizer", normalizer) if isinstance(normalizer, str) else normalizer
    target = getattr(settings, "target", None)
    source = None if target is None or isinstance(target, Mapping) else str(target) or None
    return settings.name, source, settings.build().fit_table(), {"use": settings.name, **to_table(settings)}


def load_params(path: Path | str) -> Params:
    """Read a `params.json` file, or the one in a model's folder; Slideflow's files can be read too.

    Raises:
        ConfigError: the file is missing, is not a params.json, or names a normalizer that cannot be made again.
    """
    file = local_path(path)
    if file.is_dir():
        file = file / PARAMS_FILE
    try:
        table = parse_json(file.read_text(encoding="utf-8"))
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
    try:
        cls = registry().find("normalizer", str(name))
        if table.get("norm_fit"):
            options |= _options_of_fit(cls, file, table["norm_fit"])
        elif not own and hp.get("normalizer_source"):
            options["target"] = hp["normalizer_source"]
        return step_settings("normalizer", cls.name, options)
    except SlideloomError as error:
        raise ConfigError(f"{file}: its normalizer cannot be made again: {error}") from error


def _options_of_fit(cls: type[Settings[Any]], file: Path, fit: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a fitted normalizer's values are as options: the file is the target, or what the class makes of them."""
    if "target" in options_of(cls):
        return {"target": str(file.absolute())}  # the fit in this file, whatever it was made from
    if issubclass(cls, ReadsFits):
        return cls.options_of_fit(fit)
    log.warning("%s: norm_fit is not used, because %s has no target", file, cls.name)
    return {}


def _told(settings: Settings[Any]) -> dict[str, Any]:
    """The options that are not at their defaults."""
    infos = options_of(type(settings))
    return {name: value for name in infos if (value := getattr(settings, name)) != infos[name].default}
