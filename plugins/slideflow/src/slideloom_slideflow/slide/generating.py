"""Tiles of a slide in hand, filtered, normalized and encoded one after another, as `WSI.build_generator` gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import slideloom
from slideloom import ConfigError, Rgb, TileBatch, TileFilter
from slideloom.plugins.shorthand import step_settings

from slideloom_slideflow.norm import StainNormalizer, autoselect
from slideloom_slideflow.pictures import encoded

_FORMATS = ("numpy", "jpg", "jpeg", "png")


def tile_dictionaries(
    ours: slideloom.WSI,
    *,
    filters: Mapping[str, Mapping[str, float | None]],
    normalizer: str | StainNormalizer | None,
    normalizer_source: Any,
    in_context: bool,
    img_format: str,
    shuffle: bool,
    with_pixels: bool,
    max_tiles: int | None,
) -> Iterator[dict[str, Any]]:
    """Kept tiles as dictionaries: "image", "grid" (column and row), "loc" (the centre), and a fraction per filter.

    Args:
        ours: the slide.
        filters: options of tile filters by name; None is the filter's own default, and 1 as fraction turns it off.
        normalizer: name, or a normalizer in hand.
        normalizer_source: target of a normalizer given by name.
        in_context: take the stains' statistics from the whole slide.
        img_format: "numpy", "jpg" or "png".
        shuffle: in a random order, another each time.
        with_pixels: False leaves out "image"; filters decide all the same.
        max_tiles: end after so many.
    """
    if img_format not in _FORMATS:
        raise ConfigError(f"img_format must be one of {', '.join(_FORMATS)}, not {img_format!r}")
    steps = {name: step for name, options in filters.items() if (step := _filter(name, options)) is not None}
    stain = autoselect(normalizer, normalizer_source) if isinstance(normalizer, str) else normalizer
    if stain is not None and in_context:
        stain.set_context(ours)
    tiles = ours.tiles
    order = np.random.default_rng().permutation(len(tiles)) if shuffle else np.arange(len(tiles))
    given = 0
    for number in order.tolist():
        if max_tiles and given >= max_tiles:
            return
        one = tiles.take(slice(number, number + 1))
        column, row = int(one.grid_x[0]), int(one.grid_y[0])
        rgb: Rgb = ours[column, row]
        batch = TileBatch(rgb[None], one, slide=ours.name, labels=(None,))
        found: dict[str, Any] = {"loc": [int(one.loc_x[0]), int(one.loc_y[0])], "grid": [column, row]}
        kept = True
        for name, step in steps.items():
            verdict = step.check(batch)
            found[_FRACTIONS[name]] = float(verdict.score[0])
            kept &= bool(verdict.keep[0])
        if not kept:
            continue
        if with_pixels:
            found["image"] = encoded(rgb if stain is None else stain.rgb_to_rgb(rgb), img_format)
        given += 1
        yield found


_FRACTIONS = {"grayspace": "gs_fraction", "whitespace": "ws_fraction"}
_DEFAULT = {"grayspace": 0.6, "whitespace": 1.0}


def _filter(name: str, options: Mapping[str, float | None]) -> TileFilter | None:
    given = {key: value for key, value in options.items() if value is not None}
    if given.get("fraction", _DEFAULT[name]) == 1:
        return None
    step: TileFilter = step_settings("filter", name, given).build()
    return step
