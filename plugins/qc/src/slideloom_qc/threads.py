"""Threads that a slide QC step may use, and none where it may use one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

ParametersT = ParamSpec("ParametersT")
ResultT = TypeVar("ResultT")


class AtOnce(Executor):
    """Does the work in the thread that submits it; what it raises comes from `submit`."""

    def submit(
        self, function: Callable[ParametersT, ResultT], /, *args: ParametersT.args, **kwargs: ParametersT.kwargs
    ) -> Future[ResultT]:
        """See `Executor.submit`."""
        done: Future[ResultT] = Future()
        done.set_result(function(*args, **kwargs))
        return done


@contextmanager
def threads_of(count: int) -> Iterator[Executor]:
    """An executor of `count` threads; with one, work is done at once. What waits when an error comes is given up."""
    if count == 1:
        yield AtOnce()
        return
    with ThreadPoolExecutor(count, thread_name_prefix="slideloom-qc") as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
