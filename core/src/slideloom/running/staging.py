"""Outputs at an address: a run works in a local folder, the staging, and puts there what it has finished."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path

import attrs

from slideloom.base.addresses import Address, SlidePlace, place_of
from slideloom.base.errors import ConfigError, OutputError, SlideError, Unlisted
from slideloom.base.naming import option_name
from slideloom.base.storing import storing_in
from slideloom.base.system_errors import in_words
from slideloom.extraction.finished import damage_of, interrupted
from slideloom.extraction.output_folder import OutputFolder
from slideloom.extraction.stored_files import files_of_run, files_of_slide
from slideloom.pipeline.pipeline import Pipeline
from slideloom.plugins.discovery import registry
from slideloom.plugins.hookspecs import RemoteFiles
from slideloom.steps.remote_output import RemoteOutput
from slideloom.steps.reports import SlideReport

log = logging.getLogger(__name__)

HOME = "slideloom-staging"
"""Folder in the current one, below which runs work whose output is at an address."""
_WAITING = 8  # slides that may wait to be put at the address, before the run waits for them
_BURDEN = "high_blur_burden.txt"
_STATE = "slideloom"
_RECORD_OF_RUN = f"{_STATE}/published.run.json"


@contextmanager
def staged(pipeline: Pipeline, out: SlidePlace | str, *, is_trial: bool) -> Iterator[tuple[Path, Published | None]]:
    """The folder in which a run works, and what puts its files at the address of its output, if that is one.

    Raises:
        ConfigError: the address cannot be an output, or an option does not go with it.
        PluginError: no installed plugin writes to addresses.
        OutputError: the address or the folder cannot be written, or belongs to another run.
    """
    folder, address = staging_of(pipeline, out), place_of(out)
    if not isinstance(address, Address):
        yield folder, None
        return
    files = registry().remote_files(address)
    open_output = files.open_output
    if open_output is None:
        raise ConfigError(f"{address}: the installed plugin for addresses only reads")
    if is_trial:
        _look_at(address, files)
        yield folder, None
        return
    stored = OutputFolder(folder, pipeline.tiles.label)
    lock, taken = folder / "slideloom" / "published.lock", "another run puts it at an address ({holder}); wait for it"
    with stored.holding(lock, taken=taken):
        with storing_in(folder):
            lock.touch()
            since_ns = lock.stat().st_mtime_ns
        output = open_output(address, folder)
        published = Published(stored, address, output, since_ns=since_ns)
        try:
            yield folder, published
        finally:
            published.end()
            output.close()


def _look_at(address: Address, files: RemoteFiles) -> None:
    """Ask for the few files by which runs know an output, as a run would before its first slide; nothing is put there.

    Raises:
        OutputError: the store does not answer, or is none that is known.
    """
    if files.entries is None:
        return
    try:
        files.entries(Address(f"{address.without_slash().url}/{_STATE}"), False)
    except (FileNotFoundError, Unlisted):  # as long as no run has put anything there
        return
    except SlideError as error:
        raise OutputError(f"a run could not put its output there: {error}") from error


def staging_of(pipeline: Pipeline, out: SlidePlace | str) -> Path:
    """The local folder in which a run works: `out` itself, or the staging if that is an address.

    Raises:
        ConfigError: the address cannot be an output, or an option does not go with it.
    """
    place, chosen = place_of(out), pipeline.run.staging
    if isinstance(place, Path):
        if chosen is not None:
            raise ConfigError(
                f"{option_name('run', 'staging')}: is for an output at an address, and {place} is none; leave it out"
            )
        return place
    if place.scheme in ("http", "https"):
        raise ConfigError(f"{place}: a web server takes no files; name a bucket or a local folder")
    if place.is_pattern or "::" in place.url or {"?", "#"} & set(place.url):
        raise ConfigError(f"{place}: an output needs the plain address of a folder, such as s3://bucket/tiles/cohort")
    if pipeline.run.shard is not None:
        raise ConfigError(
            f"{option_name('run', 'shard')}: shards do not put their tiles at an address; let them work in a local "
            f"folder, and then run once without it, with that folder as {option_name('run', 'staging')}"
        )
    if chosen is not None:
        return chosen
    parts = [part for part in re.split(r"[/\\]+", str(place)) if part not in ("", ".", "..")]
    return Path(HOME, parts[0].removesuffix(":"), *parts[1:])


class Published:
    """Puts the files of finished slides and of the run at an address, in a thread.

    Args:
        folder: in which the run works.
        address: of the output.
        output: puts files there.
        since_ns: when the run began, by the clock of the folder's disk.

    Attributes:
        address: of the output, as text without secrets.
    """

    def __init__(self, folder: OutputFolder, address: Address, output: RemoteOutput, *, since_ns: int) -> None:
        self.address = str(address)
        self._folder = folder
        self._output = output
        self._since_ns = since_ns
        self._thread = ThreadPoolExecutor(1, "slideloom-publishing")

    def slides(self, reports: Iterable[tuple[int, SlideReport]]) -> Iterator[tuple[int, SlideReport]]:
        """Numbers and reports of slides, in the same order, once the files of each are at the address.

        If they cannot be put there, the report says "failed", but the slide stays finished in the folder.
        """
        waiting: deque[tuple[int, Future[SlideReport]]] = deque()
        for number, report in reports:
            waiting.append((number, self._thread.submit(copy_context().run, self._slide, report)))
            while waiting and (waiting[0][1].done() or len(waiting) > _WAITING):
                first, future = waiting.popleft()
                yield first, future.result()
        for number, future in waiting:
            yield number, future.result()

    def run(self, reports: Iterable[SlideReport]) -> list[str]:
        """Put the run's own files at the address; why that failed, if it did."""
        root, homes = self._folder.root, {report.home_of(output) for report in reports for output in report.outputs}
        own = [root / "errors.csv", self._folder.mask_classes, *(root / home / _BURDEN for home in ("", *homes))]
        withdrawn = {self._folder.relative(path) for path in own if not path.exists()}
        try:
            files = files_of_run(self._folder, since_ns=self._since_ns)
            self._output.publish(_RECORD_OF_RUN, files, last="", within=withdrawn)
        except Exception as error:  # a plugin's own code
            return [f"the run's files are in {root}, but not at {self.address}: {_told(error)}"]
        return []

    def end(self) -> None:
        """Wait until nothing more is put at the address; slides whose turn has not come stay in the folder."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _slide(self, report: SlideReport) -> SlideReport:
        try:
            self._put(report.slide, is_new=report.status == "done")
        except Exception as error:  # a plugin's own code; the run goes on
            log.debug("slide %s is not at the address", report.slide, exc_info=True)
            why = f"is in {self._folder.root}, but not at {self.address}: {_told(error)}"
            before = f"{report.error}; and what is finished of it " if report.status == "failed" else ""
            return attrs.evolve(report, status="failed", error=f"{before or f'{report.slide}: '}{why}")
        return report

    def _put(self, slide: str, *, is_new: bool) -> None:
        folder = self._folder
        try:
            stored = folder.report(slide)
        except OutputError:  # a name that no file can have
            return
        try:
            report = SlideReport.load(stored)
        except FileNotFoundError:  # nothing of it is stored
            return
        except (OSError, ValueError, TypeError) as error:
            raise OutputError(f"{stored}: cannot be read ({error}); run again") from error
        if interrupted(folder, slide) is not None:  # its files may be of two runs, whatever their sizes
            raise OutputError(f"a run was stopped while it gave {slide} its files in {folder.root}; run again")
        damage = damage_of(folder.root, report) if report.status != "failed" else []
        if damage:
            raise OutputError(f"{damage[0]} in {folder.root}; run again to make it anew")
        # An output that is neither there nor left has no tiles any more, such as the last of what were many shards.
        # Nor have pictures that this run has not made anew anything to show.
        kept = () if is_new else (_STATE,)
        staying = None if report.status == "failed" else (*kept, *report.left)
        folders = [output for output in report.outputs if (folder.root / output).is_dir()]
        self._output.publish(
            folder.relative(folder.published(slide)),
            files_of_slide(folder, report),
            last=folder.relative(stored),
            within=folders,
            staying=staying,
        )


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, OutputError) else in_words(error)
