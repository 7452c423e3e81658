"""JSON and TOML of files that anybody may have edited or damaged: what cannot be read is a `ValueError`, always."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# Files of ours have about ten levels, and what goes on with a value (to show, hash and store it) recurses.
DEEPEST = 100


def parse_json(text: str | bytes, *, deepest: int | None = DEEPEST) -> Any:  # Any: what JSON holds
    """The value that a JSON text holds.

    Args:
        text: the whole of it; bytes in UTF-8, UTF-16 or UTF-32.
        deepest: levels of lists and tables in each other that are allowed; None for as many as the parser reads, for
            files whose reader does not recurse.

    Raises:
        ValueError: it is not JSON, or nested more deeply.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise _too_deep(deepest) from None
    return value if deepest is None else _checked(value, deepest)


def parse_toml(text: str) -> dict[str, Any]:
    """The table that a TOML text holds.

    Raises:
        ValueError: it is not TOML, or nested too deeply.
    """
    import tomllib  # a command whose options are words reads none

    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise _too_deep(DEEPEST) from None
    _checked(table, DEEPEST)
    return table


def _checked(value: Any, deepest: int) -> Any:
    level = [value]
    for _ in range(deepest + 1):
        # Dotted keys of TOML make tables in tables that its parser does not recurse for.
        level = [inner for outer in level for inner in _held(outer)]
        if not level:
            return value
    raise _too_deep(deepest)


def _held(value: Any) -> list[Any]:
    """The lists and tables within one."""
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, (list, dict))]


def _too_deep(deepest: int | None) -> ValueError:
    allowed = f"more than {deepest} levels of lists and tables in each other" if deepest else "too many levels to read"
    return ValueError(f"nested too deeply: {allowed}; it is damaged, or another file")
