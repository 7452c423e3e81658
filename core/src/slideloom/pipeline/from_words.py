"""Makes a pipeline from the options of the command line or of Python, in one place for all commands and functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slideloom.base.errors import ConfigError
from slideloom.pipeline.file import pipeline_from_table
from slideloom.pipeline.fronts import PYTHON, WordFront
from slideloom.pipeline.pipeline import VERSION, Pipeline
from slideloom.pipeline.tiling import Tiling
from slideloom.pipeline.words import TABLES, tables_of
from slideloom.plugins.given_steps import Step
from slideloom.plugins.shorthand import step_entry
from slideloom.settings.tables import checked, made_from_table


def pipeline_from_words(
    given: Mapping[str, Any],
    *,
    include: Sequence[str] = (),
    roi: Sequence[Step] = (),
    qc: Sequence[Step] = (),
    filters: Sequence[Step] | None = None,
    normalizer: Step | None = None,
    placement: Step | None = None,
    sinks: Sequence[Step] | None = None,
    front: WordFront = PYTHON,
    base: Path | None = None,
) -> Pipeline:
    """The pipeline for these options.

    Args:
        given: values by word, such as `tile_px`. None means not given; unknown names are ignored.
        include: files, folders or patterns of slides.
        roi, qc, filters, normalizer, placement, sinks: steps; None for filters or sinks means the defaults.
        front: how messages name options.
        base: the folder that relative paths start from.

    Raises:
        ConfigError: an option is wrong; the message lists every mistake, one per line.
    """
    tables = tables_of(given)
    tables["slides"]["include"] = list(include)
    table: dict[str, Any] = {"slideloom": VERSION, **tables}
    mistakes: list[str] = []
    lists = {"roi": roi, "qc": qc, "filter": filters, "sink": sinks}
    single = {"normalizer": normalizer, "placement": placement}
    wanted = {**lists, **{kind: None if step is None else [step] for kind, step in single.items()}}
    for kind, steps in wanted.items():
        entries, wrong = _entries(kind, steps or (), tables.get(kind, {}), front)
        mistakes += wrong
        if steps is not None and (kind in lists or entries):
            table[kind] = entries if kind in lists else entries[0]
    try:
        pipeline = pipeline_from_table(table, where=front, base=base)
    except ConfigError as error:
        raise ConfigError("\n".join([*mistakes, str(error)])) from None
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return pipeline


def _entries(
    kind: str, steps: Sequence[Step], rules: Mapping[str, Any], front: WordFront
) -> tuple[list[Mapping[str, Any]], list[str]]:
    """The entries of a list of tables, and the mistakes in them."""
    entries: list[Mapping[str, Any]] = []
    mistakes: list[str] = []
    for step in steps:
        try:
            entries.append({**rules, **step_entry(kind, step)})
        except ConfigError as error:
            mistakes.append(front.step(kind).mistake(str(error)))
    if rules and not entries:  # then the rules are not needed, but a wrong one is still a mistake
        mistakes += checked(TABLES[kind], rules, front.table(kind))[1]
    return entries, mistakes


def tiling_from_words(given: Mapping[str, Any], *, front: WordFront = PYTHON) -> Tiling:
    """The size and placement of tiles for these options.

    Raises:
        ConfigError: an option is wrong; the message lists every mistake, one per line.
    """
    return made_from_table(Tiling, tables_of(given)["tiles"], where=front.table("tiles"))
