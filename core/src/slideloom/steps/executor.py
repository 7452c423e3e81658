"""The contract of executors: a function and items in, results in order of completion out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any


class Executor(ABC):
    """Runs one function over slides, in this process, in others, or on other machines.

    An executor that starts Python processes itself must do so within `slideloom.script_for_workers`; otherwise each of
    them runs the user's script again.
    """

    @abstractmethod
    def run(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """Yields (number of the item, its result or the exception that it raised) in order of completion.

        `function` and the items can be pickled. Take an item only when a worker is free, because making an item may
        take long (copying a slide to a faster disk). Take as many items as there are workers: `next` never waits until
        another item is done. An item is in progress from when it is taken until its result is yielded. If a worker
        dies, only its own item gets an exception.
        """
