"""Copies slides to a faster disk before they are read, within a size limit, and removes them afterwards."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from slideloom.base.addresses import Address
from slideloom.base.errors import Cancelled, OutputError
from slideloom.base.lent_folders import lent_folder
from slideloom.base.naming import option_name
from slideloom.base.storing import storing_in
from slideloom.base.system_errors import in_words
from slideloom.extraction.job import SlideTask, known_finished
from slideloom.extraction.output_folder import OutputFolder
from slideloom.extraction.unopened import finished_where_it_is
from slideloom.pipeline.pipeline import RunOptions
from slideloom.planning.opening import open_without_mpp
from slideloom.planning.remote_copies import (
    RemoteParts,
    copy_folder,
    copy_parts,
    parts_at,
    parts_of_folder,
    remote_tree,
)
from slideloom.planning.slide_files import files_of, fingerprint
from slideloom.plugins.discovery import registry
from slideloom.slides.remote_path import RemotePath

log = logging.getLogger(__name__)

_AHEAD = 2  # copied slides that may wait for a worker


@contextmanager
def buffered(
    tasks: Sequence[SlideTask],
    run: RunOptions,
    begin: Callable[[int, SlideTask], SlideTask | None] = lambda _position, task: task,
) -> Iterator[tuple[Iterator[SlideTask], Callable[[int], None]]]:
    """An iterator over the tasks, each after its slide was copied to the buffer, and a function that frees a copy.

    The function takes the task's position. Without a buffer folder, the tasks are unchanged.

    Args:
        tasks: in order of their turn.
        run: names the buffer folder.
        begin: called with each task's position and the task when its turn has come, perhaps in another thread; gives
            the task to do, or None to leave it out.

    Raises:
        OutputError: the buffer folder cannot be written.
    """
    if run.buffer is None:
        begun = (begin(position, task) for position, task in enumerate(tasks))
        yield (task for task in begun if task is not None), lambda _position: None
        return
    with lent_folder(run.buffer) as folder:
        copier = _Copier(tasks, folder, int(run.buffer_gb * 1e9), begin)
        try:
            copier.start()
            yield iter(copier), copier.release
        finally:
            copier.stop()


class _Copier:
    """A thread that copies slides in order while there is room.

    It waits for room only until a slide is needed. A slide that is needed and does not fit is read from its original
    place, so an executor never waits, however many slides it takes at once and however late it frees them.
    """

    def __init__(
        self, tasks: Sequence[SlideTask], folder: Path, room: int, begin: Callable[[int, SlideTask], SlideTask | None]
    ) -> None:
        self._tasks = tasks
        self._begin = begin
        self._folder = folder
        self._room = room
        self._ready: dict[int, SlideTask | None] = {}  # None if it is left out
        self._held: dict[int, int] = {}  # position of a task to its bytes in the buffer
        self._asked = -1  # position of the last task that was asked for
        self._told = False
        self._changed = threading.Condition()
        self._stopped = False
        self._failure: BaseException | None = None  # of the thread, without which whoever asks would wait forever
        self._thread = threading.Thread(target=self._work, name="slideloom-buffer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()

    def release(self, position: int) -> None:
        """The slide of this task is no longer read."""
        shutil.rmtree(self._folder / str(position), ignore_errors=True)
        with self._changed:
            self._held.pop(position, None)
            self._changed.notify_all()

    def __iter__(self) -> Iterator[SlideTask]:
        for position in range(len(self._tasks)):
            with self._changed:
                self._asked = position
                self._changed.notify_all()
                while position not in self._ready and not self._stopped and self._failure is None:
                    self._changed.wait()
                if self._stopped:
                    return
                if position not in self._ready and self._failure is not None:
                    raise self._failure
                task = self._ready.pop(position)
            if task is not None:
                yield task

    def _work(self) -> None:
        try:
            self._copy_all()
        except BaseException as error:  # raised again where the slide is waited for
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _copy_all(self) -> None:
        for position, task in enumerate(self._tasks):
            files, size = self._measured(task)
            with self._changed:
                while not self._stopped and self._asked < position and not self._may_go_ahead(size):
                    self._changed.wait()
                if self._stopped:
                    return
                fits = self._fits(size)
                if fits:
                    self._held[position] = size
            begun = self._begin(position, task)
            if begun is None:
                self.release(position)
            ready = None if begun is None else self._at_hand(position, begun, files, size, fits=fits)
            with self._changed:
                self._ready[position] = ready
                self._changed.notify_all()

    def _at_hand(
        self, position: int, task: SlideTask, files: Sequence[Path] | RemoteParts, size: int, *, fits: bool
    ) -> SlideTask:
        """The task with its slide in the buffer, if there is room."""
        if not fits and size <= self._room:
            self._tell(task)
        if isinstance(files, RemoteParts):
            return self._fetched(position, task, files) if fits else task
        if isinstance(task.path, Address):
            return task
        return self._copied(position, task, task.path, files) if fits and files else task

    @staticmethod
    def _measured(task: SlideTask) -> tuple[Sequence[Path] | RemoteParts, int]:
        """The files of a slide that are to be copied, and their bytes; none if they cannot be told."""
        if known_finished(task) is not None:  # nor will whoever gets the task open it
            return [], 0
        try:
            if isinstance(task.path, Address):
                if _is_folder(task.path) and _is_finished(task):
                    return [], 0
                whole = _parts_of(task.path)
                if whole.sizes[:1] != (None,) and whole.sizes:
                    return whole, whole.size
                with whole.files.open(task.path) as remote:
                    return whole, remote.size + whole.size
            files = files_of(task.path)
            return files, sum(file.stat().st_size for file in files)
        except Exception as error:  # also a plugin's own; reading the slide will report what is wrong with it
            log.info("%s cannot be copied to the buffer: %s", task.path.name, in_words(error))
            return [], 0

    def _may_go_ahead(self, size: int) -> bool:
        # A slide larger than the whole buffer is read from its original place, so there is nothing to wait for.
        return len(self._ready) < _AHEAD and (self._fits(size) or size > self._room)

    def _fits(self, size: int) -> bool:
        return sum(self._held.values()) + size <= self._room

    def _tell(self, task: SlideTask) -> None:
        if not self._told:
            self._told = True
            log.warning(
                "%s, and perhaps others, is read from where it is: the slides in progress fill the buffer; "
                "raise %s, or use fewer jobs",
                task.path.name,
                option_name("run", "buffer_gb"),
            )

    def _fetched(self, position: int, task: SlideTask, whole: RemoteParts) -> SlideTask:
        """The task with its slide copied from its address; unchanged if that fails, so that reading reports why."""
        target = self._folder / str(position)
        try:
            with storing_in(target):
                target.mkdir()
            path, identity = _copy(whole, target, task, goes_on=lambda: not self._stopped)
            return attrs.evolve(task, read_path=path, identity=identity)
        except Cancelled:
            return task
        except Exception as error:  # also a plugin's own
            self._forget(position, task, error)
            return task

    def _copied(self, position: int, task: SlideTask, path: Path, files: Sequence[Path]) -> SlideTask:
        """The task with its slide in the buffer; unchanged if copying fails, so that reading reports the reason."""
        target = self._folder / str(position)
        try:
            with storing_in(target):
                target.mkdir()
                identity = fingerprint(path)  # of what is copied: the slide may be replaced before the copy is read
                for file in files:
                    if self._stopped:
                        return task
                    goal = target / file.relative_to(path.parent)
                    goal.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, goal)
                if fingerprint(path) != identity:
                    raise OutputError("it changed while it was copied")
        except OutputError as error:
            self._forget(position, task, error)
            return task
        return attrs.evolve(task, read_path=target / path.name, identity=identity)

    def _forget(self, position: int, task: SlideTask, error: Exception) -> None:
        log.warning("%s is read from where it is: %s", task.path.name, in_words(error))
        shutil.rmtree(self._folder / str(position), ignore_errors=True)
        with self._changed:
            self._held.pop(position, None)


def _is_finished(task: SlideTask) -> bool:
    folder = OutputFolder(task.out, task.pipeline.tiles.label)
    return not task.trial and finished_where_it_is(folder, task.slide, task.pipeline)


def _is_folder(address: Address) -> bool:
    """True if the slide at an address is a folder."""
    found = registry()
    is_folder = address.is_folder or found.formats.folder_of(address) is not None
    if not is_folder and not address.suffix:
        tree = remote_tree(found.remote_files(address))
        is_folder = tree is not None and RemotePath(address, tree).is_dir()
    return is_folder


def _parts_of(address: Address) -> RemoteParts:
    """The files of the slide at an address."""
    return (parts_of_folder if _is_folder(address) else parts_at)(address.without_slash(), registry())


def _copy(
    whole: RemoteParts, target: Path, task: SlideTask, *, goes_on: Callable[[], bool]
) -> tuple[Path, list[object] | None]:
    """Where the copy of a slide is, and its identity."""
    remedy = "name another folder as the buffer"
    if whole.is_folder:
        # What tells whether a folder has changed, its reader knows: the same with a copy as without.
        with open_without_mpp(whole.address, task.pipeline.slides) as slide:
            identity = slide.identity
        return copy_folder(whole, target, remedy=remedy, goes_on=goes_on), identity
    with whole.files.open(whole.address) as first:
        return copy_parts(whole, target, registry(), first=first, remedy=remedy, goes_on=goes_on)
