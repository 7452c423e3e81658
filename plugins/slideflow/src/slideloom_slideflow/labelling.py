"""Labels of slides as Slideflow gives them: a number by slide, and the classes in the order of their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import slideloom
from attrs import frozen
from slideloom import ConfigError, number_in

from slideloom_slideflow.adapting import NotOffered


@frozen
class Labels:
    """Labels of one column.

    Attributes:
        names: the column's text by slide.
        values: number of the class, or value, by slide.
        classes: in the order of their numbers; of values, their sorted list.
        is_float: they are values.
    """

    names: Mapping[str, str]
    values: dict[str, Any]
    classes: list[Any]
    is_float: bool


def labels_of(
    dataset: slideloom.Dataset,
    headers: Sequence[str],
    *,
    use_float: bool | str | Mapping[str, Any] = False,
    assign: Mapping[str, Mapping[str, int]] | None = None,
) -> Labels:
    """The labels of a dataset's slides.

    Args:
        dataset: whose slides.
        headers: one column.
        use_float: values instead of classes; "auto" where every value is a number; or that by column.
        assign: the number of each class, by column.

    Raises:
        ConfigError: there is no such column, a slide has no label, or a label is no number where one is wanted.
    """
    if len(headers) != 1:
        raise NotOffered(f"labels of {len(headers)} columns at once are not offered: take one column after another")
    (header,) = headers
    names = dataset.labels(header)
    without = [slide for slide in dataset.slides() if slide not in names]
    if without:
        raise ConfigError(f"no value in column '{header}' for {', '.join(without[:5])}; filter with filter_blank")
    numbers = {slide: number_in(text) for slide, text in names.items()}
    wanted = use_float.get(header, False) if isinstance(use_float, Mapping) else use_float
    if wanted == "auto":
        wanted = None not in numbers.values()
    if wanted:
        wrong = [slide for slide, number in numbers.items() if number is None]
        if wrong:
            raise ConfigError(f"column '{header}': {names[wrong[0]]!r} of slide {wrong[0]} is no number")
        return Labels(names, dict(numbers), sorted({*numbers.values()}, key=str), is_float=True)
    order = (assign or {}).get(header) or {name: place for place, name in enumerate(sorted(set(names.values())))}
    unknown = sorted(set(names.values()) - set(order))
    if unknown:
        raise ConfigError(f"column '{header}': assign has no number for {unknown[0]!r}")
    classes = sorted(order, key=lambda name: order[name])
    return Labels(names, {slide: order[name] for slide, name in names.items()}, classes, is_float=False)
