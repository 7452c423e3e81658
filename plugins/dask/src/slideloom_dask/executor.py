"""Items as Dask futures, as many at a time as the cluster has worker threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import dask
from distributed import Client, Future, LocalCluster, as_completed
from slideloom import ConfigError, Executor

from slideloom_dask.settings import Dask


class DaskExecutor(Executor):
    """See `Dask`."""

    def __init__(self, settings: Dask) -> None:
        self._settings = settings

    def run(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """See `Executor.run`.

        Raises:
            ConfigError: there is no scheduler at the address, or it has no worker.
        """
        with self._client() as client:
            yield from _results(client, function, enumerate(items))

    @contextmanager
    def _client(self) -> Iterator[Client]:
        settings = self._settings
        address = settings.address or dask.config.get("scheduler-address", None)
        if address is None:
            with (
                LocalCluster(n_workers=settings.jobs, threads_per_worker=1, dashboard_address=None) as cluster,
                Client(cluster, set_as_default=False) as client,
            ):
                yield client
            return
        try:
            where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
            client = Client(**where, timeout=settings.patience_s, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"executor 'dask': no scheduler at {address} ({error}); start one with `dask scheduler`"
            ) from error
        with client:
            try:
                client.wait_for_workers(1, timeout=settings.patience_s)
            except TimeoutError as error:
                raise ConfigError(
                    f"executor 'dask': the scheduler at {address} has no worker; start one with `dask worker {address}`"
                ) from error
            yield client


def _results(
    client: Client, function: Callable[[Any], Any], numbered: Iterator[tuple[int, Any]]
) -> Iterator[tuple[int, Any]]:
    numbers: dict[Future, int] = {}

    def submitted(count: int) -> list[Future]:
        futures = []
        for number, item in islice(numbered, count):
            # Not pure: the same slide must run again if it is submitted again.
            future = client.submit(function, item, pure=False, key=f"slideloom-{client.id}-{number}")
            numbers[future] = number
            futures.append(future)
        return futures

    def room() -> int:
        """Free threads, at least one; workers come and go. No item queues behind another, or it could die with it."""
        threads = sum(int(count) for count in client.nthreads().values())
        return max(1, threads - len(numbers))

    waiting = as_completed(submitted(room()), loop=client.loop)
    try:
        for future in waiting:
            number = numbers.pop(future)
            error = future.exception()
            yield number, future.result() if error is None else error
            future.release()
            waiting.update(submitted(room()))
    finally:
        client.cancel(list(numbers))
