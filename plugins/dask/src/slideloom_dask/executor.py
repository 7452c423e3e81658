"""Items as Dask futures, as many at a time as the cluster has worker threads."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Future, LocalCluster, as_completed
from slideloom import ConfigError, Executor, parse_json, script_for_workers

from slideloom_dask.settings import Dask

log = logging.getLogger(__name__)
_POLL_S = 0.05


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
            yield from _results(client, function, enumerate(items), patience_s=self._settings.patience_s)

    @contextmanager
    def _client(self) -> Iterator[Client]:
        settings = self._settings
        address = settings.address or dask.config.get("scheduler-address", None)
        if address is None:
            # Dask itself sends what the script defines to its workers. Its web server cannot be turned off, so it gets
            # any free port of this machine, and no dashboard.
            with script_for_workers(is_needed=False):
                cluster = LocalCluster(
                    n_workers=settings.jobs,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",
                    scheduler_kwargs={"dashboard": False},
                )
            with cluster, Client(cluster, set_as_default=False) as client:
                yield client
            return
        if address.endswith(".json"):
            address = _address_in(Path(address), settings.patience_s)
        try:
            client = Client(address, timeout=settings.patience_s, set_as_default=False)
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


def _address_in(path: Path, patience_s: float) -> str:
    """The address that a scheduler writes to its file, for which Dask itself would wait forever."""
    end = time.monotonic() + patience_s
    while True:
        try:
            address = parse_json(path.read_text(encoding="utf-8"))["address"]
            if isinstance(address, str):
                return address
            problem = f"its address is {address!r}"
        except FileNotFoundError:
            problem = "it is missing"
        except (OSError, ValueError, KeyError, TypeError) as error:  # it may not be complete yet
            problem = f"{type(error).__name__}: {error}"
        if time.monotonic() >= end:
            raise ConfigError(
                f"executor 'dask': no address of a scheduler in {path} ({problem}); start one with "
                f"`dask scheduler --scheduler-file {path}`"
            )
        time.sleep(min(_POLL_S, patience_s))


def _results(
    client: Client, function: Callable[[Any], Any], numbered: Iterator[tuple[int, Any]], *, patience_s: float
) -> Iterator[tuple[int, Any]]:
    numbers: dict[Future, int] = {}
    waiting = as_completed(loop=client.loop)

    def has_room() -> bool:
        """A thread is free, or nothing is at work: workers come and go. None waits behind another and dies with it."""
        return len(numbers) < max(1, sum(int(count) for count in client.nthreads().values()))

    is_over = False
    try:
        while True:
            # A result goes before the next item, as making one may take long (copying a slide to a faster disk).
            while not is_over and not waiting.has_ready() and has_room():
                number, item = next(numbered, (None, None))
                if number is None:
                    is_over = True
                    break
                # Not pure: the same slide asked for again is to be run again.
                future = client.submit(function, item, pure=False, key=f"slideloom-{client.id}-{number}")
                numbers[future] = number
                waiting.add(future)
            if not numbers:
                return
            _wait_for_result(client, waiting, patience_s)
            future = next(waiting)
            number = numbers.pop(future)
            yield number, _outcome(future)
            future.release()
    finally:
        client.cancel(list(numbers))


def _outcome(future: Future) -> Any:
    """The result, or what the function raised, or why the result cannot be had: it is its item's own error, too."""
    error = future.exception()
    if error is not None:
        return error
    try:
        return future.result()
    except Exception as failure:
        return failure


def _wait_for_result(client: Client, waiting: as_completed, patience_s: float) -> None:
    """Wait until an item is done, or until there has been no worker for too long.

    Raises:
        ConfigError: all workers are gone, and no new one came within `patience_s`.
    """
    last_seen = looked = time.monotonic()
    is_told = False
    while not waiting.has_ready():
        time.sleep(_POLL_S)
        if time.monotonic() - looked < min(1.0, patience_s):
            continue
        looked = time.monotonic()
        if client.nthreads():
            last_seen, is_told = looked, False
        elif looked - last_seen >= patience_s:
            raise ConfigError(
                f"executor 'dask': its workers are gone, and none came within {patience_s:g} s; start workers and run "
                "again to go on: finished slides are kept"
            )
        elif not is_told:
            is_told = True
            log.warning("executor 'dask': no worker is left; waiting %g s for one", patience_s)
