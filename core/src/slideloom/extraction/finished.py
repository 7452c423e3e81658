"""Decides whether a slide is finished, and whether its outputs are as its report says."""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from attrs import field, frozen

from slideloom.base.errors import SlideloomError
from slideloom.base.files import FileState
from slideloom.base.parsing import parse_json
from slideloom.base.storing import names_in
from slideloom.extraction.output_folder import OutputFolder
from slideloom.steps.reports import OutputSize, SlideReport, output_sizes

log = logging.getLogger(__name__)

RUN_REPORT = "extraction_report.json"
_HEAD = 4096
_BLOCK = 1 << 20


@frozen
class Earlier:
    """What is known about a slide from earlier runs.

    Attributes:
        folder: the output folder.
        slide: name of the slide.
        report: the slide's report from the last run that finished, or None.
        known: the same, or if it cannot be read, the slide's entry in the report of the whole run. It proves which
            files are ours.
        unreadable: why the slide's report cannot be read, or "".
        interrupted: the files that were getting their final names when a run was killed, or None.
    """

    folder: OutputFolder
    slide: str
    report: SlideReport | None = None
    known: SlideReport | None = None
    unreadable: str = ""
    interrupted: Mapping[str, OutputSize] | None = field(default=None)

    @classmethod
    def of(cls, folder: OutputFolder, slide: str) -> Earlier:
        """What is known about a slide; empty if it was never processed here."""
        report, why = None, ""
        try:
            report = SlideReport.load(folder.report(slide))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError) as error:
            why = f"the report of an earlier run cannot be read ({error})"
            log.warning("%s: %s; the slide is run again", folder.report(slide), why)
        known = report or (_told_of(folder, slide) if why else None)
        return cls(folder, slide, report, known, why, interrupted(folder, slide))

    def sizes(self) -> dict[str, list[OutputSize | None]]:
        """By output: the sizes that it may have. None if an older version's report names it without a size."""
        found: dict[str, list[OutputSize | None]] = {}
        if self.known is not None:
            for output in self.known.outputs:
                found.setdefault(output, []).append(self.known.sizes.get(output))
            for output, size in self.known.left.items():
                found.setdefault(output, []).append(size)
        for output, size in (self.interrupted or {}).items():
            found.setdefault(output, []).append(size)
        return found

    def left(self) -> dict[str, OutputSize | None]:
        """Outputs that still exist, with their sizes according to the reports."""
        root = self.folder.root
        return {output: sizes[-1] for output, sizes in self.sizes().items() if (root / output).exists()}

    def finished(self, digest: str, *, versions: Mapping[str, str] | None = None) -> tuple[SlideReport | None, str]:
        """The report of a run that finished the slide with the same digest and whose outputs are complete.

        Args:
            digest: digest of everything that affects the output.
            versions: versions that must have made it, or None if they do not matter.

        Returns:
            The report, or None; and why an earlier result cannot be used, or "".
        """
        report = self.report
        if self.interrupted is not None:
            return None, "the last run was stopped while it gave its files their names"
        if report is None:
            return None, self.unreadable
        if report.status == "failed":
            return None, ""
        if report.digest != digest:
            return None, "its file, regions or settings have changed, or an older version of slideloom made it"
        if report.unreadable:
            return None, f"tiles unreadable in the run before: {report.unreadable}"
        if versions is not None and (updated := updates(report, versions)):
            return None, f"made by {', '.join(f'{name} {was}' for name, (was, _) in updated.items())}"
        damage = damage_of(self.folder.root, report)
        return (None, damage[0]) if damage else (report, "")


def updates(report: SlideReport, versions: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """By distribution: the version that processed a slide and the present version, if they differ."""
    return {
        name: (was, versions[name])
        for name, was in report.versions.items()
        if name in versions and versions[name] != was
    }


def _told_of(folder: OutputFolder, slide: str) -> SlideReport | None:
    """The slide's entry in the report of the last run in a folder."""
    return _told_in(FileState.of(folder.root / RUN_REPORT)).get((slide, folder.label))


@lru_cache(maxsize=1)  # every slide whose report is damaged asks, and the file tells of all slides
def _told_in(state: FileState) -> Mapping[tuple[str, str], SlideReport]:
    try:
        table = parse_json(state.path.read_text(encoding="utf-8"))
        told = [SlideReport.from_table(item) for item in table["slides"]]
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return {(item.slide, item.label): item for item in reversed(told)}


def interrupted(folder: OutputFolder, slide: str) -> dict[str, OutputSize] | None:
    """The files that were getting their final names when a run was killed; None if there are none."""
    try:
        return output_sizes(parse_json(folder.publishing(slide).read_text(encoding="utf-8"))["outputs"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # killed, and the disk wrote out of order
        return {}


def damage_of(root: Path, report: SlideReport) -> list[str]:
    """What is missing or has another size among a finished slide's outputs, one sentence each; reads no content."""
    found = [difference(root, output, report.sizes.get(output)) for output in report.outputs]
    if report.tile_table:
        found.append(difference(root, report.tile_table, report.sizes.get(report.tile_table)))
    return [damage for damage in found if damage]


def difference(root: Path, output: str, wanted: OutputSize | None) -> str:
    """How an output differs from its size when it was finished, as a sentence, or ""."""
    try:
        size, files = bytes_of(root / output)
    except FileNotFoundError:
        return f"{output} is gone"
    except OSError as error:
        return f"{output} cannot be read ({error.strerror})"
    if wanted is None or (size, files) == (wanted.bytes, wanted.files):
        return ""
    if files != wanted.files:
        return f"{output} holds {files} files instead of {wanted.files}"
    return f"{output} holds {size} bytes instead of {wanted.bytes}"


def bytes_of(path: Path) -> tuple[int, int]:
    """Number of bytes and of files of a file, or of a folder with everything in it.

    Raises:
        OSError: it does not exist.
    """
    if not path.is_dir():
        return path.stat().st_size, 1
    sizes = [file.stat().st_size for _, file in _files_in(path)]
    return sum(sizes), len(sizes)


def measured(path: Path, *, tiles: int = 0) -> OutputSize:
    """Size and checksum of a file or folder, which is read completely.

    Args:
        path: a file or folder that was just written, so that it is still in the disk cache.
        tiles: number of tiles in it.
    """
    if not path.is_dir():
        crc, head = _crc(path)
        return OutputSize(path.stat().st_size, 1, tiles, crc, head)
    total = size = files = 0
    for name, file in _files_in(path):
        total += _crc(file, zlib.crc32(name.encode("utf-8", "surrogateescape")))[0]
        size += file.stat().st_size
        files += 1
    return OutputSize(size, files, tiles, total % 2**32)


def is_ours(path: Path, sizes: list[OutputSize | None]) -> bool:
    """True if a file or folder provably is an output in a report: it has its size, or is its beginning."""
    size, files = bytes_of(path)
    for wanted in sizes:
        if wanted is None or (size, files) == (wanted.bytes, wanted.files):
            return True
        if wanted.head is not None and files == 1 and path.is_file() and _is_beginning(path, size, wanted):
            return True
    return False


def _is_beginning(path: Path, size: int, whole: OutputSize) -> bool:
    # For a file shorter than the head nothing can be proven, except that nothing is lost if it is empty.
    return size == 0 or (_HEAD <= size < whole.bytes and _crc(path)[1] == whole.head)


def damage_within(root: Path, report: SlideReport) -> Iterator[str]:
    """Which outputs of a finished slide have changed since they were written, one sentence each; reads all of them."""
    for output, wanted in report.sizes.items():
        if wanted.crc32 is None:
            continue
        try:
            found = measured(root / output)
        except OSError as error:
            yield f"{output} cannot be read ({error.strerror})"
            continue
        if found.crc32 != wanted.crc32:
            yield f"{output} holds other bytes than were written (CRC-32 is {found.crc32}, was {wanted.crc32})"


def _crc(path: Path, start: int = 0) -> tuple[int, int]:
    """CRC-32 of a file, and of its head."""
    with path.open("rb", buffering=0) as file:
        block = file.read(_HEAD)
        head = crc = zlib.crc32(block, start)
        while block := file.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    return crc, head


def _files_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file in a folder and its sub-folders, with its relative name."""
    for home, _, names in os.walk(folder):
        for name in names:
            path = Path(home, name)
            yield path.relative_to(folder).as_posix(), path


def reports_in(folder: OutputFolder) -> Iterator[tuple[str, SlideReport | SlideloomError]]:
    """The name and report of each slide in an output folder, or why it cannot be read, sorted by file name."""
    for name, path in names_in(folder.state / "slides", ".json").items():
        try:
            yield name, SlideReport.load(path)
        except (OSError, ValueError, TypeError) as error:
            yield name, SlideloomError(f"{path}: the slide's report cannot be read ({error}); run the slide again")


def report_states(folder: OutputFolder) -> dict[str, FileState]:
    """The state of each slide's report in an output folder, which shows whether one was added or has changed."""
    return {name: FileState.of(path) for name, path in names_in(folder.state / "slides", ".json").items()}
