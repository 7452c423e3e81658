"""The contract of executors: a function and items in, results in order of completion out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any


class Executor(ABC):
    """Runs one function over slides, in this process, in others, or on other machines.

    One that starts processes of Python itself starts them within `slideloom.script_for_workers`, or each of them runs
    the user's script again.
    """

    @abstractmethod
    def run(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """Yields (number of the item, its result or the exception that it raised) in order of completion.

        `function` and the items can be pickled. Items are taken one by one when there is a worker for them, because
        making one may be work (copying a slide to a faster disk), and as many as there are workers: `next` never waits
        for an item to be done. One is at work from when it is taken until its result is yielded. A worker that dies
        gives an exception for its item, not for others.
        """
