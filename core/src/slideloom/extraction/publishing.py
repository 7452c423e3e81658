"""The outputs of one slide: made under private names, then published all together, or not at all.

A file that already has one of the final names must provably be ours: a report must name it with its size. It is moved
aside, gets its name back if the slide fails, and is removed after the slide's report is written. Any other file makes
the slide fail; a redo moves it aside for good.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs

from slideloom.base.drafts import Draft
from slideloom.base.errors import OutputError
from slideloom.base.files import FileState
from slideloom.base.naming import option_given
from slideloom.base.storing import storing_in, sync_path, write_json
from slideloom.base.temporary import aside_path, discard_path, keep_aside
from slideloom.extraction.claims import Claim
from slideloom.extraction.finished import Earlier, bytes_of, is_ours, measured
from slideloom.extraction.nesting import refuse_nesting
from slideloom.extraction.output_folder import OutputFolder
from slideloom.planning.mask_files import Content
from slideloom.planning.prepared import PreparedSlide
from slideloom.plugins.blaming import blaming
from slideloom.settings.options import Settings
from slideloom.steps.reports import OutputSize, SlideReport
from slideloom.steps.sink import Prepared, Writer

log = logging.getLogger(__name__)


class ForeignOutput(OutputError):
    """A file that slideloom did not make has the name of an output.

    Attributes:
        paths: the files.
    """

    def __init__(self, message: str, paths: Sequence[Path] = ()) -> None:
        super().__init__(message)
        self.paths = tuple(paths)


class Publication:
    """The outputs of one slide, as a context manager. If it ends without `finish`, everything is as before.

    Args:
        folder: the run's output folder.
        earlier: what is known about the slide from earlier runs.
        redo: move files aside that are not ours, instead of raising an error.
        claim: without which nothing is published; None if no other run may work in the folder.

    Attributes:
        folder: the run's output folder.
        earlier: what is known about the slide from earlier runs.
        notes: sentences for the slide's report.
        outputs: published files and folders, relative to the output folder.
        sizes: size and checksum of each output and of the tile table.
    """

    def __init__(self, folder: OutputFolder, earlier: Earlier, *, redo: bool, claim: Claim | None = None) -> None:
        self.folder = folder
        self._claim = claim
        self.notes: list[str] = []
        self.outputs: list[str] = []
        self.sizes: dict[str, OutputSize] = {}
        self.earlier = earlier
        self._redo = redo
        self._opened: list[tuple[Settings[Any], Writer]] = []
        self._before: dict[Path, FileState] = {}
        self._away: dict[Path, str] = {}  # files to move aside for good, and why
        self._displaced: list[tuple[Path, Path, bool]] = []  # old name, new name, and whether that is for good
        self._published: list[tuple[Path, FileState]] = []
        self._drafts: list[Draft] = []
        self._journal = folder.publishing(earlier.slide)
        self._journal_is_ours = False
        self._finished = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._finished:
            return
        for _, writer in self._opened:
            try:
                writer.abort()
            except Exception:  # the first error is the one to report
                log.exception("a sink's writer failed to clean up")
        try:
            self._take_back()
        except OSError:
            log.exception("slide %s failed, and its published outputs cannot be taken back", self.earlier.slide)

    def open(self, prepared: PreparedSlide) -> None:
        """Open a writer for each sink.

        Raises:
            OutputError: a sink cannot write.
            ForeignOutput: a file that would be replaced is not provably ours.
        """
        with storing_in(self.folder.root):
            self.folder.root.mkdir(parents=True, exist_ok=True)
        for sink in prepared.sinks():
            with blaming(sink.settings, "sink", self.earlier.slide):
                writer = sink.step.open(prepared.plan.slide.info, prepared.plan.scene, self.folder.root)
                if not isinstance(writer, Writer):
                    raise TypeError(f"wanted a Writer, got {type(writer).__name__}")
                self._opened.append((sink.settings, writer))
                targets = writer.targets()
                refuse_nesting(self.folder, self.earlier.slide, targets)
                self._look_at([path for path in targets if path.exists()])

    @property
    def writers(self) -> list[Writer]:
        """The open writers, in the order of the sinks."""
        return [writer for _, writer in self._opened]

    def _look_at(self, targets: Sequence[Path]) -> None:
        """Note which files have the names of outputs, and refuse those that are not ours."""
        sizes = self.earlier.sizes()
        foreign = []
        for path in targets:
            self._before[path] = FileState.of(path)
            name = self.folder.relative(path)
            if is_ours(path, sizes.get(name, [])) or bytes_of(path) == (0, 0):  # an empty folder holds nothing to lose
                continue
            if name in sizes:
                self._away[path] = "damaged"
            elif self._redo:
                self._away[path] = "foreign"
            else:
                foreign.append(path)
        if foreign:
            more = f" (and {len(foreign) - 1} more of this slide)" if len(foreign) > 1 else ""
            raise ForeignOutput(
                f"{foreign[0]}{more}: no slideloom report names it, so it is left as it is; use another output folder, "
                f"or {option_given('run', 'redo', True)}, which moves it aside",
                foreign,
            )

    def publish(self, files: Mapping[Path, Content], *, kept: Path, gone: Sequence[Path] = ()) -> None:
        """Give all outputs their final names.

        Args:
            files: the slide's own files (tile table, masks, picture), with their content.
            kept: the one of these files that is also an output, the tile table.
            gone: files that earlier runs made of the slide, and that go with the outputs of these.

        Raises:
            OutputError: the disk is full, or another run has written the slide in the meantime.
            ClaimLost: another run makes the slide by now.
        """
        prepared = self._prepare(files, kept)
        self._check_claim()
        with storing_in(self.folder.root):
            self._journal_is_ours = True
            self._write_journal(self.sizes)
            self._displace([*self._before, *files, *(path for path in gone if path not in files)])
        waiting = {item.path: FileState.of(item.partial) for item in prepared}
        # Writers whose outputs cannot be taken back come last.
        for settings, writer in sorted(self._opened, key=lambda pair: not pair[1].has_phases):
            mine = [item.path for item in prepared] if writer.has_phases else []
            try:
                with blaming(settings, "sink", self.earlier.slide):
                    self._note_made(writer, writer.commit())
                    self.notes.extend(writer.notes())
            finally:
                self._published += [(path, waiting[path]) for path in mine if _is(path, waiting[path])]
        with storing_in(self.folder.root):
            for draft in self._drafts:
                self._published.append((draft.path, FileState.of(draft.partial)))
                draft.publish()
                sync_path(draft.path.parent)

    def finish(self, report: SlideReport) -> None:
        """Write the slide's report, which marks its outputs as finished, and remove the files that they replaced.

        Raises:
            OutputError: the report cannot be written; then everything is as before.
            ClaimLost: another run makes the slide by now.
        """
        self._check_claim()
        write_json(self.folder.report(report.slide), report.as_table())
        self._finished = True
        with suppress(OSError):  # a file that stays is hidden, and a later run removes it
            for _, aside, for_good in self._displaced:
                if not for_good:
                    discard_path(aside)
            discard_path(self._journal)

    def left(self) -> dict[str, OutputSize]:
        """Outputs of earlier runs with other sinks that still exist, with their sizes."""
        known = {name: size for name, size in self.earlier.left().items() if name not in self.outputs}
        return {name: size or measured(self.folder.root / name) for name, size in known.items()}

    def _check_claim(self) -> None:
        if self._claim is not None:
            self._claim.check()

    def _prepare(self, files: Mapping[Path, Content], kept: Path) -> list[Prepared]:
        prepared: list[Prepared] = []
        for settings, writer in self._opened:
            with blaming(settings, "sink", self.earlier.slide):
                for item in writer.prepare():
                    self.sizes[self.folder.relative(item.path)] = measured(item.partial, tiles=item.tiles)
                    prepared.append(item)
        with storing_in(self.folder.root):
            for path, content in files.items():
                draft = Draft(path)
                self._drafts.append(draft)
                with draft.partial.open("wb") as file:
                    file.writelines([content] if isinstance(content, bytes) else content)
                sync_path(draft.partial)
                if path == kept:
                    self.sizes[self.folder.relative(path)] = measured(draft.partial)
        return prepared

    def _displace(self, paths: Sequence[Path]) -> None:
        for path in paths:
            state = FileState.of(path)
            if not state.is_there:
                continue
            if path in self._before and not _same(state, self._before[path]):
                raise OutputError(
                    f"{path}: another run has written it meanwhile, and it is left as it is; "
                    "let one run at a time work in a folder"
                )
            word = self._away.get(path)
            if word is None:
                aside = aside_path(path)
                path.rename(aside)
            else:
                aside = keep_aside(path, word)
                kind = "is not as its report says" if word == "damaged" else "was not made by slideloom"
                self.notes.append(f"{path.name} {kind} and was moved aside to {aside.name}")
                log.warning("%s %s; it was moved aside to %s", path, kind, aside.name)
            self._displaced.append((path, aside, word is not None))

    def _note_made(self, writer: Writer, made: Sequence[Path]) -> None:
        for path in made:
            name = self.folder.relative(path)
            if not writer.has_phases:
                self._published.append((path, FileState.of(path)))
                self.sizes[name] = measured(path)
            self.outputs.append(name)

    def _take_back(self) -> None:
        steps = [partial(discard_path, draft.partial) for draft in self._drafts]
        steps += [partial(_unpublish, path, state) for path, state in reversed(self._published)]
        steps += [partial(_put_back, path, aside) for path, aside, _ in reversed(self._displaced)]
        problems = []
        for step in steps:
            try:
                step()
            except OSError as error:  # what can be taken back still is
                problems.append(error)
        if problems:  # the journal stays: it says what is left
            raise problems[0]
        if not self._journal_is_ours:
            return
        if self.earlier.interrupted is None:
            discard_path(self._journal)
        else:  # the journal is from an earlier run that was killed, whose files are still there
            self._write_journal(self.earlier.interrupted)

    def _write_journal(self, sizes: Mapping[str, OutputSize]) -> None:
        write_json(self._journal, {"outputs": {name: attrs.asdict(size) for name, size in sizes.items()}})


def _unpublish(path: Path, state: FileState) -> None:
    if _is(path, state):  # a file of another run is left alone
        discard_path(path)


def _put_back(path: Path, aside: Path) -> None:
    if not path.exists():
        aside.rename(path)
    elif aside.name.startswith("."):  # another run has taken the name; the file moved aside was ours
        discard_path(aside)


def _same(one: FileState, other: FileState) -> bool:
    # Inode numbers are not compared: on some network file systems they change at every call.
    return (one.changed_ns, one.size) == (other.changed_ns, other.size)


def _is(path: Path, state: FileState) -> bool:
    return state.is_there and _same(FileState.of(path), state)
