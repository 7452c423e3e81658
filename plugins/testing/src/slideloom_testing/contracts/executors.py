# ruff: noqa: S101 - asserts are what a contract is made of
"""What every executor must do, whatever its workers are: threads, processes, or machines of a cluster."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from slideloom.steps.executor import Executor

from slideloom_testing.contracts.base import SettingsContract

_ENDS = "ends"


def act(item: Any) -> Any:
    """What workers do here; they import it from this package, which must be installed where they are."""
    if item == 3:
        raise ArithmeticError("three is odd")
    if item == _ENDS:
        os._exit(3)
    if item == "lock":
        return threading.Lock()
    if item == "logs":
        logging.getLogger("slideloom.contract").warning("%s cannot be pickled", threading.Lock())
    return item / 2 if isinstance(item, int) else item


class ExecutorContract(SettingsContract):
    """What `Executor.run` promises.

    Attributes:
        has_workers: False if the function runs in the process that asks for it; if it ends that, nothing can be done.
    """

    kind: ClassVar[type] = Executor
    has_workers: ClassVar[bool] = True

    def built(self) -> Executor:
        """A newly made executor."""
        executor: Executor = self.settings.build()
        return executor

    def test_every_item_gives_its_result_or_its_error(self) -> None:
        """Each number once; an item that raises costs no other, and its error is the one that was raised."""
        found = [*self.built().run(act, range(10))]

        assert sorted(number for number, _ in found) == list(range(10))
        results = dict(found)
        error = results.pop(3)
        assert isinstance(error, ArithmeticError)
        assert str(error) == "three is odd"
        assert results == {number: number / 2 for number in range(10) if number != 3}

    def test_results_do_not_depend_on_the_order_of_items(self) -> None:
        """The number of an item is its place, and its result that of the item."""
        items = [8, 0, 5, 1, 9]

        assert dict(self.built().run(act, items)) == {place: item / 2 for place, item in enumerate(items)}

    def test_no_items_give_no_results(self) -> None:
        """As when all slides have bad names."""
        assert [*self.built().run(act, [])] == []

    def test_an_executor_runs_again(self) -> None:
        """A project runs one source after the other."""
        executor = self.built()

        assert [dict(executor.run(act, [2, 4])) for _ in range(2)] == [{0: 1.0, 1: 2.0}] * 2

    def test_items_are_taken_when_there_is_room_for_them(self) -> None:
        """Making an item may take long and much space, such as copying a slide: not all are taken at once."""
        taken: list[int] = []
        results = self.built().run(act, _numbers(200, taken))
        next(results)

        assert len(taken) < 100
        assert len([*results]) == 199

    def test_an_error_in_making_an_item_is_raised(self) -> None:
        """It is no item's own error."""

        def items() -> Iterator[int]:
            yield 1
            raise OSError("the disk is gone")

        with pytest.raises(OSError, match="the disk is gone"):
            [*self.built().run(act, items())]

    def test_a_result_that_cannot_be_sent_is_an_error_of_its_item(self) -> None:
        """Or it is the result itself, where nothing has to be sent."""
        found = dict(self.built().run(act, [2, "lock", 4]))

        assert not self.has_workers or isinstance(found[1], Exception)
        assert (found[0], found[2]) == (1.0, 2.0)

    def test_what_an_item_logs_does_not_harm_it(self) -> None:
        """Log records may hold what cannot be sent."""
        assert dict(self.built().run(act, ["logs", 2])) == {0: "logs", 1: 1.0}

    def test_a_worker_that_dies_costs_its_own_item_only(self) -> None:
        """Killed for its memory, or by a crash in a library."""
        if not self.has_workers:
            pytest.skip("there is no worker")
        found = dict(self.built().run(act, [0, _ENDS, 4, 6]))

        assert isinstance(found.pop(1), Exception)
        assert found == {0: 0.0, 2: 2.0, 3: 3.0}

    def test_a_run_that_is_left_early_takes_no_more_items_and_leaves_no_process(self) -> None:
        """As with Ctrl-C: closing the iterator ends what `run` started."""
        taken: list[int] = []
        for _ in range(2):  # the first may start what Python itself keeps, such as its tracker of shared memory
            before = _children()
            taken.clear()
            results = self.built().run(act, _numbers(200, taken))
            next(results)
            results.close()  # type: ignore[attr-defined]  # executors are generators; an iterator without it fails here
            count = len(taken)
        assert len(taken) == count < 100
        assert _children() <= before


def _numbers(count: int, taken: list[int]) -> Iterator[int]:
    for number in range(count):
        taken.append(number)
        yield 2 * number


def _children() -> set[int]:
    """The processes that this one has started and that still run; none where the system does not tell."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name of the program, in brackets, may have spaces; then come the state and the parent (proc(5)).
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has just ended
            continue
        if int(parent) == os.getpid() and state != "Z":
            found.add(int(path.parent.name))
    return found
