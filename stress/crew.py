"""Runs the cases of a campaign in a child process, which a case may crash, fill or block."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import cast

from stress.verdicts import Campaign, Kind, Tally, Verdict

_OFTEN = 200  # cases, after which what is counted so far is told
MEMORY_BYTES = 12 << 30  # address space of a child: libraries take some of it without using it
MOST_RESIDENT_MB = 1500  # that a case may really use
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it


class Crew:
    """A child process that judges one case after the other.

    Args:
        campaign: what is tried.
        folder: that the campaign has prepared.
    """

    def __init__(self, campaign: Campaign, folder: Path) -> None:
        self._campaign = campaign
        self._folder = folder
        self._child: tuple[BaseProcess, Connection] | None = None

    def judge(self, case: str) -> Verdict:
        """The verdict on one case; a crash or a hang of the child is one, too."""
        process, connection = self._child or self._start()
        self._child = process, connection
        try:
            connection.send(case)
            if connection.poll(self._campaign.patience_s):
                verdict, used_mb = connection.recv()
                if used_mb > MOST_RESIDENT_MB:
                    self.end()  # so that the next case is measured for itself
                    verdict = verdict if verdict.is_fault else Verdict(Kind.WRONG, f"took {used_mb} MB")
                return cast("Verdict", verdict)
            self.end()
            return Verdict(Kind.OTHER, f"no end after {self._campaign.patience_s} s")
        except (EOFError, ConnectionError):
            process.join()
            self._child = None
            return Verdict(Kind.OTHER, f"the process ended with code {process.exitcode}")

    def end(self) -> None:
        """End the child."""
        if self._child is not None:
            process, connection = self._child
            process.kill()
            process.join()
            connection.close()
            self._child = None

    def _start(self) -> tuple[BaseProcess, Connection]:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        added = self._campaign.environment(self._folder)
        before = {name: os.environ.get(name) for name in added}
        os.environ.update(added)  # a spawned process gets what is there at this moment
        try:
            process = context.Process(target=_work, args=(theirs, self._campaign.judge, self._folder))
            process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name)
                else:
                    os.environ[name] = value
        theirs.close()
        return process, ours


def run(
    campaign: Campaign, *, seed: int, most: int | None, tell: Callable[[Tally], None] = lambda _tally: None
) -> Tally:
    """Try the cases of a campaign, `most` of them at most.

    Args:
        campaign: what is tried.
        seed: decides which cases, and in which order.
        most: number of cases; None means all.
        tell: called with what is counted so far at each fault, and now and then, so that it is known even if the
            campaign never ends.
    """
    return _run(campaign, lambda folder: campaign.cases(folder, seed)[:most], tell)


def run_one(campaign: Campaign, case: str) -> Tally:
    """Try one case."""
    return _run(campaign, lambda _folder: [case], lambda _tally: None)


def _run(campaign: Campaign, choose: Callable[[Path], list[str]], tell: Callable[[Tally], None]) -> Tally:
    tally = Tally(campaign.name)
    above = _MEMORY if campaign.in_memory and os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix=f"stress-{campaign.name}-", dir=above) as place:
        folder = Path(place)
        campaign.prepare(folder)
        crew = Crew(campaign, folder)
        try:
            for case in choose(folder):
                verdict = crew.judge(case)
                tally.add(case, verdict)
                if verdict.is_fault or tally.counts.total() % _OFTEN == 0:
                    tell(tally)
                _show(tally)
        finally:
            crew.end()
    return tally


def _show(tally: Tally) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{tally.name}: {tally.counts.total()} cases, {len(tally.faults)} faults ")
        sys.stderr.flush()


def _work(connection: Connection, judge: Callable[[Path, str], Verdict], folder: Path) -> None:
    """The life of the child."""
    _limit_memory()
    while True:
        try:
            case = connection.recv()
        except EOFError:
            return
        try:
            verdict = judge(folder, case)
        except BaseException as error:  # of the harness, which is to be seen as well
            verdict = Verdict(Kind.OTHER, f"harness: {''.join(traceback.format_exception(error))[-800:]}")
        connection.send((verdict, _resident_mb()))


def _limit_memory() -> None:
    if os.name == "posix":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _resident_mb() -> int:
    """The most memory this process ever had; 0 where the system does not tell."""
    if os.name != "posix":
        return 0
    status = Path("/proc/self/status")
    if status.exists():
        # The kernel's count for a process begins with the memory of the process that started it; this one does not.
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) >> 10
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used >> 20 if sys.platform == "darwin" else used >> 10
