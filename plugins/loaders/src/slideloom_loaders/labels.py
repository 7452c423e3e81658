"""What labels mean: whole numbers, text and bools are classes; floats are targets; the same for Python, NumPy, pandas.

A column of the annotations is text. Its values count as floats if one of them is written as such: with a decimal point
or comma, or an exponent.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom.base.csv_tables import number_in
from slideloom.base.errors import ConfigError
from slideloom_cohort.slides import named

Kind = Literal["text", "a whole number", "a float", "a bool"]
Labels = str | Mapping[str, Any] | None  # a column, "roi", or a value by slide: a mapping, or a pandas Series
_NO_CLASS = -1


@frozen
class Meaning:
    """How labels become targets.

    Attributes:
        classes: names in the order of their numbers; () for floats.
    """

    classes: tuple[str, ...]

    def targets(self, values: Sequence[Any]) -> tuple[NDArray[np.bool_], NDArray[Any]]:
        """Which of N labels have a target, (N,); and targets, (N,) int64 numbers of classes or (N,) float32.

        Args:
            values: labels, None where there is none.
        """
        has_label = np.array([value is not None for value in values], bool)
        if not self.classes:
            return has_label, np.array([_float_of(value) for value in values], np.float32)
        numbers = {name: number for number, name in enumerate(self.classes)}
        codes = np.array([numbers.get(class_name(value), _NO_CLASS) for value in values], np.int64)
        return has_label & (codes != _NO_CLASS), codes


def meaning_of(
    values: Mapping[str, Any], *, classes: Sequence[Any] | None = None, regression: bool | None = None
) -> Meaning:
    """What labels mean.

    Args:
        values: a label by where it is from, which messages name; none of them missing.
        classes: in the order of their numbers: names, whole numbers or bools; labels may be none of these. By default
            all, sorted: by size if all are whole numbers.
        regression: True takes whole numbers, and text that is a number, as targets too; False takes floats as classes.

    Raises:
        ConfigError: labels are of several kinds or of none that is known, or classes and labels do not fit together.
    """
    if regression and classes is not None:
        raise ConfigError("regression=True has no classes; leave one of the two out")
    for place, value in values.items():
        if regression and _float_of(value) is None:
            raise ConfigError(f"regression: the label of {place} is no finite number: {value!r}")
    if regression:
        return Meaning(())
    kinds = {kind_of(value, place): (place, value) for place, value in values.items()}
    if classes is not None:
        return Meaning(_given(classes, values))
    if {"text", "a bool"} & set(kinds) and len(kinds) > 1:
        found = "; ".join(f"{kind} for {place} ({value!r})" for kind, (place, value) in kinds.items())
        raise ConfigError(f"labels are of several kinds: {found}; make them one kind, or name the classes")
    if "a float" in kinds and regression is None:
        place, value = next(((place, value) for place, value in values.items() if _float_of(value) is None), ("", 0))
        if place:
            raise ConfigError(f"the label of {place} is no finite number: {value!r}")
        return Meaning(())
    return Meaning(in_order({class_name(value) for value in values.values()}))


def _given(classes: Sequence[Any], values: Mapping[str, Any]) -> tuple[str, ...]:
    if isinstance(classes, str):
        raise ConfigError(f"classes must be a list of names, not {classes!r}")
    names = tuple(class_name(value) for value in classes)
    if len(set(names)) < len(names):
        raise ConfigError(f"classes: {named(_twice(names))} is named more than once")
    present = {class_name(value) for value in values.values()}
    if not present & set(names):
        found = ", ".join(in_order(present)) or "none"
        raise ConfigError(f"no tile has a label among {', '.join(names) or 'any class'} (labels found: {found})")
    return names


def kind_of(value: Any, place: str) -> Kind:
    """The kind of a label.

    Raises:
        ConfigError: it is of no known kind.
    """
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool | np.bool_):
        return "a bool"
    if isinstance(value, Integral):
        return "a whole number"
    if isinstance(value, Real):
        return "a float"
    raise ConfigError(
        f"the label of {place} is of {type(value).__name__}: {value!r}; labels are text, numbers or bools"
    )


def class_name(value: Any) -> str:
    """The name of a class: "3" for 3 and 3.0, "True" for True, and text as it is."""
    is_whole = isinstance(value, Real) and not isinstance(value, bool | Integral) and float(value).is_integer()
    return str(int(value)) if is_whole else str(value)


def in_order(names: set[str]) -> tuple[str, ...]:
    """Names sorted: by size if all are whole numbers, so that class 10 comes after class 2."""
    return tuple(sorted(names, key=lambda name: (int(name), name)) if all(map(is_whole, names)) else sorted(names))


def _float_of(value: Any) -> float | None:
    """A label as a finite number; None for one that is none."""
    if isinstance(value, str):
        return number_in(value.strip())
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        return None
    return float(value) if math.isfinite(value) else None


def of_column(values: Mapping[str, str], *, as_text: bool) -> dict[str, Any]:
    """The labels in a column of annotations; slides with "nan" are left out.

    Args:
        values: the text of each slide.
        as_text: keep it; else, where one is written as a float, all that are numbers become floats.
    """
    text = {slide: value for slide, value in values.items() if value.strip().lower() != "nan"}
    numbers = {slide: number_in(value.strip()) for slide, value in text.items()}
    if as_text or not any(numbers[slide] is not None and not is_whole(value) for slide, value in text.items()):
        return dict(text)
    return {slide: value if numbers[slide] is None else numbers[slide] for slide, value in text.items()}


def is_whole(text: str) -> bool:
    """True for text that is a whole number."""
    return bool(re.fullmatch(r"\s*[+-]?\d+\s*", text))


def by_slide(labels: Any, slides: Sequence[str]) -> dict[str, Any]:
    """The labels of these slides out of a mapping or a pandas Series; those without one, or with NaN, are left out.

    Raises:
        ConfigError: it is neither, or a Series names a slide twice.
    """
    index: Any = getattr(labels, "index", None)
    if getattr(index, "is_unique", True) is False:
        raise ConfigError(f"labels: the Series names slide {named(_twice(map(str, index)))} more than once")
    if not isinstance(labels, Mapping) and not (hasattr(labels, "to_dict") and getattr(labels, "ndim", 0) == 1):
        raise ConfigError(
            f"labels must be a column, 'roi', or a value by slide, not {type(labels).__name__}; of a table, give "
            "table.set_index('slide')['column']"
        )
    given = labels if isinstance(labels, Mapping) else labels.to_dict()
    return {slide: given[slide] for slide in slides if slide in given and not is_missing(given[slide])}


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def is_missing(value: Any) -> bool:
    """True for None, blank text, NaN, and pandas' NA and NaT."""
    if value is None or isinstance(value, str):
        return not value
    same = value == value  # noqa: PLR0124 - what is not equal to itself is NaN or NaT
    return same is not True and not (isinstance(same, bool | np.bool_) and bool(same))
