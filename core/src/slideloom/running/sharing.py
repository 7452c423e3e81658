"""Several runs of one pipeline in one output folder: who is at work, and which of them makes which slide.

OUT/slideloom/at_work/                  a sign of life of each run
OUT/slideloom/LABEL/claims/NAME.1.claim which run makes the slide

The lock of the folder is held only while a run begins or ends, but all the time by one that makes finished slides
again: of several such runs, each would make every slide. Where locks see nothing, the signs of life still tell.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import attrs

from slideloom.base.errors import OutputError
from slideloom.base.locks import holder_of, is_held_by
from slideloom.base.signs_of_life import SignOfLife, Told, Watcher
from slideloom.base.storing import storing_in
from slideloom.base.temporary import is_temporary
from slideloom.extraction.claims import Claim, last_claim, take_claim
from slideloom.extraction.job import SlideTask
from slideloom.extraction.output_folder import FolderTaken, OutputFolder
from slideloom.pipeline.pipeline import Pipeline
from slideloom.steps.reports import SlideReport

log = logging.getLogger(__name__)

RUN, SHARD = "run", "shard"  # the first words of who holds the lock of the folder only for a moment
_POLL_S, _PATIENCE_S = 0.2, 60.0
_POLL_S_OF_SLIDE = 0.01  # so that a thousand slides in the hands of others are looked at every ten seconds
# A lock's holder is told by a file that it writes next, so the name of an earlier one may be there for a moment.
_SURE_S = 2.0


@contextmanager
def locked_for_a_moment(folder: OutputFolder, *, by: str) -> Iterator[None]:
    """Within it, this run has the folder for itself; others that begin or end are waited for.

    Args:
        folder: the output folder.
        by: what this run is, beginning with `RUN` or `SHARD`; others are told.

    Raises:
        FolderTaken: a run that keeps the folder for itself works in it.
        OutputError: the folder cannot be written.
    """
    with ExitStack() as held:
        _take_lock(folder, by, held)
        yield


def _take_lock(folder: OutputFolder, by: str, held: ExitStack) -> None:
    since = brief_seen = time.monotonic()
    is_told = False
    while True:
        try:
            held.enter_context(folder.locked(by=by))
            return
        except FolderTaken:
            now = time.monotonic()
            if any(is_held_by(folder.lock, word) for word in (RUN, SHARD)):
                brief_seen = now
            elif now - brief_seen > _SURE_S:
                raise
        if not is_told and now - since > _PATIENCE_S:
            is_told = True
            log.warning("%s: waiting for another run to begin or end (%s)", folder.root, holder_of(folder.lock))
        time.sleep(_POLL_S)


def refuse_runs(folder: OutputFolder) -> None:
    """Refuse to begin as a shard where runs that are no shards are at work.

    Raises:
        OutputError: one is, or the folder cannot be read.
    """
    _refuse_others(folder, Watcher(), lambda _: "")


class Sharing:
    """One of the runs that share an output folder.

    Args:
        folder: the output folder.
        pipeline: of the run.
        watcher: judges whether other runs live.

    Attributes:
        is_alone: True for a run that makes finished slides again, and so has the folder for itself.
    """

    def __init__(self, folder: OutputFolder, pipeline: Pipeline, *, watcher: Watcher | None = None) -> None:
        self.is_alone = pipeline.run.redo or pipeline.run.redo_updated
        self._folder = folder
        self._watcher = watcher or Watcher()
        self._about = {"label": folder.label, "digest": pipeline.digest(), "alone": self.is_alone}
        self._sign = SignOfLife(folder.at_work, self._about)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Within it, others see that this run is at work; enter it with the folder locked.

        Raises:
            OutputError: a run with other settings is at work, one of both is to be alone, or the folder cannot be
                written.
        """
        with ExitStack() as shown:
            with storing_in(self._folder.root):
                shown.enter_context(self._sign)
            _refuse_others(self._folder, self._watcher, self._conflict_with, own=self._sign.path)
            self.end()  # claims of runs that died
            yield

    def end(self) -> None:
        """Remove the claims if no other run is at work; call it with the folder locked."""
        if not _at_work(self._folder, self._watcher, own=self._sign.path):
            with storing_in(self._folder.root), suppress(FileNotFoundError):
                shutil.rmtree(self._folder.claims)

    def _conflict_with(self, other: Told | None) -> str | None:
        if other is None:
            return "which cannot be told"
        if self.is_alone:
            return "and this one makes finished slides again"
        if other.about.get("alone"):
            return "and makes finished slides again"
        return None if other.about == self._about else "with other settings"

    def offer(self, task: SlideTask) -> SlideTask | SlideReport | None:
        """The task if this run may begin it; the slide's report if another run failed at it; None if one makes it.

        Raises:
            OutputError: the claim cannot be written.
        """
        with storing_in(self._folder.root):
            claim, is_mine = take_claim(self._folder, task.slide.name, self._sign.path.name, is_free=self._is_free)
        if is_mine:
            return attrs.evolve(task, claim=claim)
        return self._failed(claim)

    def _is_free(self, claim: Claim) -> bool:
        """True if another claim may follow."""
        if claim.is_settled:
            return self._failed(claim) is None
        if claim.run == self._sign.path.name:
            return True
        if not claim.run:
            return self._watcher.is_changing(claim.path) is False
        return self._watcher.is_alive(self._folder.at_work / claim.run) is False

    def _failed(self, claim: Claim) -> SlideReport | None:
        """The report of another run that failed at the slide since this run began, which is not tried again."""
        if not claim.is_settled or claim.written_ns <= self._sign.since_ns:
            return None
        try:
            report = SlideReport.load(self._folder.report(claim.slide))
        except (OSError, ValueError, TypeError):  # its process died, or it was damaged since: the slide is run again
            return None
        return report if report.status == "failed" else None

    def settle(self, task: SlideTask) -> None:
        """Tell others that this run is done with the slide."""
        if task.claim is not None:
            try:
                task.claim.settle()
            except OSError as error:
                log.warning("%s: cannot be written (%s); others wait for the slide until this run ends",
                            task.claim.path, error.strerror)  # fmt: skip

    def wait(self, tasks: Collection[SlideTask]) -> None:
        """Wait until one of these slides, which other runs make, need not be waited for any more."""
        if not all(self._is_made(task) for task in tasks):
            return
        others = [f"{told}" for told in _at_work(self._folder, self._watcher, own=self._sign.path).values()]
        count = "1 slide is" if len(tasks) == 1 else f"{len(tasks)} slides are"
        by = f" ({', '.join(others[:3])}{', ...' if len(others) > 3 else ''})" if others else ""
        log.warning("%s being made by other runs%s; waiting for them", count, by)
        while all(self._is_made(task) for task in tasks):
            time.sleep(max(_POLL_S, _POLL_S_OF_SLIDE * len(tasks)))

    def _is_made(self, task: SlideTask) -> bool:
        """True while another run makes the slide."""
        with storing_in(self._folder.root):
            claim = last_claim(self._folder, task.slide.name)
            return claim is not None and not claim.is_settled and not self._is_free(claim)


def _refuse_others(
    folder: OutputFolder,
    watcher: Watcher,
    conflict_with: Callable[[Told | None], str | None],
    *,
    own: Path | None = None,
) -> None:
    """Refuse to begin if a run is in the way; if it may be dead, wait until that is known.

    Args:
        folder: the output folder.
        watcher: judges whether runs live.
        conflict_with: says why a run is in the way, or None if it is not.
        own: the sign of this run.
    """
    is_told = False
    while True:
        found = _at_work(folder, watcher, own=own)
        reasons = {path: conflict_with(told) for path, told in found.items()}
        in_the_way = [path for path, reason in reasons.items() if reason is not None]
        if not in_the_way:
            return
        path = in_the_way[0]
        who = f"{found[path] or path} {reasons[path]}".strip()
        with storing_in(folder.root):
            is_alive = watcher.is_alive(path)
        if is_alive:
            raise OutputError(
                f"{folder.root}: another run works in this folder ({who}); wait for it or use another folder"
            )
        if not is_told:
            is_told = True
            log.warning("%s: looking for up to %.0f minutes whether another run still works in this folder (%s)",
                        folder.root, watcher.silence_s / 60, who)  # fmt: skip
        time.sleep(_POLL_S)


def _at_work(folder: OutputFolder, watcher: Watcher, *, own: Path | None) -> dict[Path, Told | None]:
    """Other runs that are at work or may be, by their signs; signs of dead ones are removed."""
    found: dict[Path, Told | None] = {}
    with storing_in(folder.root):
        for path in sorted(folder.at_work.glob("*")):
            if path == own or is_temporary(path.name):
                continue
            told = Told.by(path)
            if watcher.is_alive(path) is False:
                path.unlink(missing_ok=True)
            else:
                found[path] = told
    return found
