"""Threads for a slide QC step, or none if it may use only one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

ParametersT = ParamSpec("ParametersT")
ResultT = TypeVar("ResultT")


class AtOnce(Executor):
    """Does the work in the submitting thread; `submit` raises its exceptions."""

    def submit(
        self, function: Callable[ParametersT, ResultT], /, *args: ParametersT.args, **kwargs: ParametersT.kwargs
    ) -> Future[ResultT]:
        """See `Executor.submit`."""
        done: Future[ResultT] = Future()
        done.set_result(function(*args, **kwargs))
        return done


@contextmanager
def threads_of(count: int) -> Iterator[Executor]:
    """An executor with `count` threads; with one, work is done at once. After an error, pending work is cancelled."""
    if count == 1:
        yield AtOnce()
        return
    with ThreadPoolExecutor(count, thread_name_prefix="slideloom-qc") as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
