"""A table as the value of an option: settings never change and have a hash, so their tables neither."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class FrozenTable(Mapping[str, Any]):
    """A table that cannot be written to, with lists as tuples and tables within it frozen too."""

    __slots__ = ("_items",)

    def __init__(self, table: Mapping[Any, Any]) -> None:
        self._items = {str(key): _frozen(value) for key, value in table.items()}

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return FrozenTable(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return tuple(_frozen(item) for item in value)
    return value
