"""Fits: the target values of each method, from presets, from numbers, and from JSON files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import attrs
import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import ConfigError, SlideloomError, parse_json

Values = NDArray[np.float64]


class Unfit(SlideloomError):
    """The stains of an image cannot be estimated: too little tissue, only one stain, or no contrast."""


def _values(*shape: int) -> Any:  # Any: attrs fields stand for their values
    def check(_instance: Any, attribute: attrs.Attribute[Any], value: Values) -> None:
        if value.shape != shape or not np.isfinite(value).all():
            raise ConfigError(
                f"{attribute.name} of a fit must be {' x '.join(map(str, shape))} finite numbers, not {value.tolist()}"
            )

    return field(
        converter=lambda value: np.array(value, np.float64), validator=check, eq=attrs.cmp_using(np.array_equal)
    )


@frozen
class StainFit:
    """Target values of one family of methods."""

    def as_table(self) -> dict[str, list[Any]]:
        """The values as lists, under the names that existing projects use (`norm_fit` in a params.json)."""
        return {name: np.asarray(value).tolist() for name, value in attrs.asdict(self, recurse=False).items()}

    @classmethod
    def mean(cls, fits: Sequence[Self]) -> Self:
        """The mean of each value."""
        columns = zip(*(attrs.astuple(fit, recurse=False) for fit in fits), strict=True)
        return cls(*(np.mean(np.stack(column), axis=0) for column in columns))


@frozen
class MacenkoFit(StainFit):
    """Stain colours and strengths.

    Attributes:
        stain_matrix_target: (3, 2), rows R, G, B, columns haematoxylin and eosin, natural-log optical density.
        target_concentrations: (2,), the 99th percentile of each stain's concentration.
    """

    stain_matrix_target: Values = _values(3, 2)
    target_concentrations: Values = _values(2)


@frozen
class ReinhardFit(StainFit):
    """Mean and standard deviation of L*, a* and b* (D65).

    Attributes:
        target_means: (3,).
        target_stds: (3,).
    """

    target_means: Values = _values(3)
    target_stds: Values = _values(3)


@frozen
class VahadaneFit(StainFit):
    """Stain colours.

    Attributes:
        stain_matrix_target: (2, 3), rows haematoxylin and eosin, columns R, G, B, natural-log optical density.
    """

    stain_matrix_target: Values = _values(2, 3)


@frozen
class Family:
    """Methods whose fits have the same meaning.

    Attributes:
        name: its name in the presets.
        fit: class of its fits.
        default: name of its default preset; "" if it has none.
    """

    name: str
    fit: type[StainFit]
    default: str


_MACENKO = Family("macenko", MacenkoFit, "v3")
_MACENKO_FAST = Family("macenko-fast", MacenkoFit, "v3")
_REINHARD = Family("reinhard", ReinhardFit, "v3")
_REINHARD_FAST = Family("reinhard-fast", ReinhardFit, "v3")
FAMILIES = {
    "macenko": _MACENKO,
    "macenko-fast": _MACENKO_FAST,
    "reinhard": _REINHARD,
    "reinhard-fast": _REINHARD_FAST,
    "reinhard-mask": _REINHARD,
    "reinhard-fast-mask": _REINHARD_FAST,
    "reinhard-tissue": Family("reinhard-tissue", ReinhardFit, ""),
    "reinhard-fast-tissue": Family("reinhard-fast-tissue", ReinhardFit, ""),
    "vahadane": Family("vahadane", VahadaneFit, "v2"),
}


@cache
def published() -> Mapping[str, Any]:
    """The published values: `fit` by family and preset, `spread` by family; `presets.json` gives their source."""
    table: Mapping[str, Any] = json.loads(files("slideloom_stain").joinpath("presets.json").read_text("utf-8"))
    return table


def preset(method: str, name: str = "") -> StainFit:
    """A published fit.

    Args:
        method: name of a method, such as "macenko".
        name: "v1", "v2" or "v3"; "" is the method's default.

    Raises:
        ConfigError: the method has no such preset.
    """
    family = FAMILIES[method]
    known = published()["fit"].get(family.name)
    if known is None:
        raise ConfigError(
            f"{method} has no presets: those published are statistics over all pixels; give an image of the staining "
            "that is the goal, or a fit file made of one"
        )
    chosen = name or family.default
    if chosen not in known:
        raise ConfigError(f"{method} has no preset '{chosen}' (known: {', '.join(known)})")
    return family.fit(**known[chosen])


def fit_from(method: str, values: Mapping[str, Any]) -> StainFit:
    """A fit out of its values, by the names of a `norm_fit`.

    Raises:
        ConfigError: they are not those of this method's fits.
    """
    try:
        return FAMILIES[method].fit(**values)
    except TypeError as error:
        raise ConfigError(f"not the values of a fit of {method}: {error}") from error


def save_fit(path: Path, method: str, fit: StainFit) -> None:
    """Write a fit file: JSON with the method's name and its target values."""
    table = {"slideloom_stain_fit": 1, "method": method, "fit": fit.as_table()}
    path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def load_fit(path: Path, method: str = "") -> tuple[str, StainFit]:
    """The method and fit in a JSON file.

    Reads fit files, the normalizer `{"method": ..., "fit": ...}` of a bags_config.json, a params.json with `norm_fit`,
    and a table of the values alone.

    Args:
        path: the file.
        method: the method it must be for; "" accepts the method that the file names.

    Raises:
        ConfigError: the file is missing, is not a fit, or is a fit for another method.
    """
    try:
        table = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); target takes a preset, an image or a fit file"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path}: not a JSON file ({error})") from error
    try:
        return _fit_in(table, method)
    except (ConfigError, TypeError, KeyError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path}: not a fit of {method or 'a known method'}: {error}") from error


def _fit_in(table: Any, method: str) -> tuple[str, StainFit]:
    said = ""
    if "norm_fit" in table:
        said = str((table.get("hp") or {}).get("normalizer") or "")
        table = table["norm_fit"]
    elif "fit" in table:
        said, table = str(table.get("method") or ""), table["fit"]
    said = said.replace("_", "-")
    chosen = method or said
    if chosen not in FAMILIES:
        raise ConfigError(f"it names the method '{chosen}' (known: {', '.join(FAMILIES)})")
    family = FAMILIES[chosen]
    if said in FAMILIES and FAMILIES[said].name != family.name:
        raise ConfigError(f"it holds a fit of {said}")
    return chosen, family.fit(**table)
