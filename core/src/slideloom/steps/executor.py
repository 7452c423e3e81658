"""The contract of executors: a function and items in, results in order of completion out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any


class Executor(ABC):
    """Runs one function over slides, in this process, in others, or on other machines."""

    @abstractmethod
    def run(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """Yields (number of the item, its result or the exception that it raised) in order of completion.

        `function` and the items can be pickled. Items are taken one by one as workers become free, because making one
        may take time (copying a slide to a faster disk). If a worker dies, only its own item gets an exception.
        """
