"""Reports as data: the outcome of every slide and every planned tile."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import attrs
from attrs import field, frozen

from slideloom.base.addresses import redacted
from slideloom.base.parsing import parse_json
from slideloom.steps.estimates import Estimate, SlideSample

SlideStatus = Literal["done", "failed", "skipped"]
# What a run was for: tiles, or to see what would become of them ("dry-run"), or which ones are left for filters and
# normalizer to decide on ("plan-only"). Tiles that would go on are counted under these words, as nothing was written.
Trial = Literal["", "dry-run", "plan-only"]


@frozen
class OutputSize:
    """Size and checksum of a file or folder when it was finished, so that later runs and loaders can check it.

    Attributes:
        bytes: size of the file, or of all files in the folder.
        files: 1, or the number of files in the folder.
        tiles: number of tiles stored in it; 0 for companion files such as an index.
        crc32: CRC-32 (zlib's) of the file's content; for a folder, the sum over its files of the CRC of name and
            content, modulo 2**32. None if unknown.
        head: CRC-32 of the first 4096 bytes of the file, to recognise a file that was cut short; None for a folder.
    """

    bytes: int
    files: int = 1
    tiles: int = 0
    crc32: int | None = None
    head: int | None = None


@frozen
class TileStatuses:
    """What a dry run decided on each planned tile, packed: a cohort has millions of tiles.

    Attributes:
        words: that occur.
        packed: the number of each tile's word, two bytes each, compressed by zlib.
    """

    words: tuple[str, ...]
    packed: bytes = field(repr=False)

    @classmethod
    def of(cls, statuses: Sequence[str]) -> TileStatuses:
        """Of one word per tile, in the order of the plan."""
        numbers = {word: number for number, word in enumerate(dict.fromkeys(statuses))}
        return cls(tuple(numbers), zlib.compress(array("H", [numbers[word] for word in statuses]).tobytes()))

    def unpacked(self) -> list[str]:
        """One word per tile, as in the tile table of a run."""
        numbers = array("H")
        numbers.frombytes(zlib.decompress(self.packed))
        return [self.words[number] for number in numbers]


def _without_secrets(value: Any) -> Any:
    """Plain values with `redacted` texts."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {key: _without_secrets(item) for key, item in value.items()}
    return [_without_secrets(item) for item in value] if isinstance(value, list) else value


def _all_redacted(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(redacted, texts))


@frozen
class SlideReport:
    """The outcome of one slide. Ensures `planned == written + sum(rejected) + unreadable` whenever status is "done".

    Attributes:
        slide: name; with folders, as in "lab1/case7/slide", if the slide was found below the folder that was named.
        path: the file as given, or the address without its secrets. No text here holds secrets of addresses.
        status: "done", "failed" (see `error`) or "skipped" (an earlier run finished it with the same digest).
        error: one message, or "".
        traceback: the traceback of an error raised by a plugin or a library, or "".
        digest: of everything that affects the output.
        pipeline_digest: of the pipeline alone, which is known before the slide is opened.
        planned: tiles of the grid or placement.
        written: tiles in every sink.
        unreadable: tiles whose pixels could not be read.
        rejected: tiles by the step that rejected them first: "roi", "qc:otsu", "qc:artifacts:fold" (a step with
            classes), "filter:grayspace", "normalizer", "max-tiles". Nothing is written by a dry run: tiles that a run
            would write are "dry-run", and those that a look at the plan alone leaves undecided "plan-only".
        fallback: tiles for which the normalizer used its fallback; they are included in `written` (or "dry-run").
        label: tile size label, such as `299px_302um`.
        tile_px, tile_um: size of a tile.
        footprint: level-0 pixels, width and height.
        stride: level-0 pixels, along x and y.
        level: the level read.
        mpp: microns per pixel of level 0, x and y; None if the slide failed before they were known.
        mpp_source: where `mpp` comes from.
        size: level-0 width and height.
        reader: name of the reader.
        icc: ICC profile by which its colours became sRGB, "none" if the file has none, "" if that was not asked for.
        rois: number of regions used.
        roi_labels: tiles written by region label; on a dry run, tiles that would be.
        metrics: numbers of the QC steps by "step.metric", such as "otsu.masked".
        qc_kinds: what each QC step detects, "background", "blur" or "artifact", by step name.
        qc_classes: the classes that a QC step discards, with the kind of each, by step name; only of steps with
            classes, and left out of JSON if there are none.
        qc_told: the classes that a QC step tells but keeps, by step name, each with the number of kept tiles of which
            more than its threshold is of it; only of steps with such classes, and left out of JSON if there are none.
        blur_burden: share of tissue area that is out of focus, 0-1, or None if not measured.
        warnings: sentences.
        outputs: files and folders made, relative to the output folder; for a failed slide, those of an earlier run.
        tile_table: CSV with one row per planned tile, relative to the output folder, or "".
        sizes: size and checksum of each output and of the tile table when the slide was finished.
        left: outputs of earlier runs with other sinks that still exist.
        foreign: files of other programs with the names of this slide's outputs, which were left alone.
        seconds: wall time by stage ("open", "qc", "tiles", "commit").
        versions: versions of the core and of each plugin that took part, by distribution; {} if the slide failed.
        statuses: of a dry run, the words that the tile table of a run would have; not in JSON. Else None.
        sample: of a dry run, what a sample of the slide's tiles took, if there is one; not in JSON.
        reopened: of a finished slide at an address, why each run opens or copies it to know that, or ""; not in JSON.
    """

    slide: str
    path: str = field(converter=redacted)
    status: SlideStatus
    error: str = field(default="", converter=redacted)
    traceback: str = field(default="", converter=redacted)
    digest: str = ""
    pipeline_digest: str = ""
    planned: int = 0
    written: int = 0
    unreadable: int = 0
    rejected: Mapping[str, int] = field(factory=dict)
    fallback: int = 0
    label: str = ""
    tile_px: int = 0
    tile_um: float = 0.0
    footprint: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (0, 0)
    level: int = 0
    mpp: tuple[float, float] | None = None
    mpp_source: str = ""
    size: tuple[int, int] = (0, 0)
    reader: str = ""
    icc: str = ""
    rois: int = 0
    roi_labels: Mapping[str, int] = field(factory=dict)
    metrics: Mapping[str, float] = field(factory=dict)
    qc_kinds: Mapping[str, str] = field(factory=dict)
    qc_classes: Mapping[str, Mapping[str, str]] = field(factory=dict)
    qc_told: Mapping[str, Mapping[str, int]] = field(factory=dict)
    blur_burden: float | None = None
    warnings: tuple[str, ...] = field(default=(), converter=_all_redacted)
    outputs: tuple[str, ...] = ()
    tile_table: str = ""
    sizes: Mapping[str, OutputSize] = field(factory=dict)
    left: Mapping[str, OutputSize] = field(factory=dict)
    foreign: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(factory=dict)
    versions: Mapping[str, str] = field(factory=dict)
    statuses: TileStatuses | None = field(default=None, eq=False, repr=False)
    sample: SlideSample | None = field(default=None, eq=False, repr=False)
    reopened: str = field(default="", eq=False, repr=False)

    @property
    def kept(self) -> int:
        """Tiles in every sink or, if nothing was to be written, those that would go on."""
        return self.written + self.rejected.get("dry-run", 0) + self.rejected.get("plan-only", 0)

    def home_of(self, output: str) -> str:
        """The folder of an output, but for the folders in the slide's name: where such outputs of all slides are."""
        home, folders = PurePosixPath(output).parent, PurePosixPath(self.slide).parent.parts
        is_below = bool(folders) and home.parts[-len(folders) :] == folders
        return PurePosixPath(*home.parts[: -len(folders)]).as_posix() if is_below else home.as_posix()

    @property
    def is_accounted(self) -> bool:
        """True if every planned tile was written, rejected by a named step, or unreadable."""
        return self.planned == self.written + sum(self.rejected.values()) + self.unreadable

    def as_table(self) -> dict[str, Any]:
        """Plain values for JSON."""
        table = attrs.asdict(self, filter=lambda attribute, _: attribute.name not in ("statuses", "sample", "reopened"))
        for name in ("qc_classes", "qc_told"):
            if not table[name]:
                del table[name]
        return table

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> SlideReport:
        """The report from the values of `as_table`; keys of newer versions are ignored.

        Raises:
            ValueError: they are no report: a value is missing or of another kind, or the counts do not add up.
        """
        if not isinstance(table, Mapping):
            raise ValueError(f"wanted a table, not {table!r:.60}")
        kinds = _kinds()
        values: dict[str, Any] = {
            key: tuple(item) if isinstance(item, list) else item for key, item in table.items() if key in kinds
        }
        for key in ("sizes", "left"):
            values[key] = output_sizes(values.get(key, {}))
        for key, value in values.items():
            if not _is_of(kinds[key], value):
                raise ValueError(f"{key} cannot be {value!r:.60}")
        for key in ("slide", "path", "status"):
            if key not in values:
                raise ValueError(f"{key} is missing")
        report = cls(**values)
        if report.status != "failed" and not report.is_accounted:
            raise ValueError("the counts of its tiles do not add up")
        for output in (*report.outputs, *report.foreign):
            _check_inside(output)
        return report

    @classmethod
    def load(cls, path: Path) -> SlideReport:
        """The report stored at `path`.

        Raises:
            OSError: it cannot be read.
            ValueError: it is damaged.
        """
        return cls.from_table(parse_json(path.read_text(encoding="utf-8")))


def output_sizes(table: Any) -> dict[str, OutputSize]:  # Any: what JSON gave
    """Sizes by output, from plain values.

    Raises:
        ValueError: they are not that.
    """
    if not isinstance(table, Mapping):
        raise ValueError(f"sizes cannot be {table!r:.60}")
    kinds = _size_kinds()
    sizes = {}
    for output, values in table.items():
        _check_inside(output)
        known = {key: value for key, value in values.items() if key in kinds} if isinstance(values, Mapping) else {}
        if "bytes" not in known or not all(_is_of(kinds[key], value) for key, value in known.items()):
            raise ValueError(f"the size of {output} cannot be {values!r:.60}")
        sizes[output] = OutputSize(**known)
    return sizes


def _check_inside(output: str) -> None:
    if PurePosixPath(output).is_absolute() or ".." in PurePosixPath(output).parts:
        raise ValueError(f"outputs: {output!r} is not in the output folder")


@cache
def _kinds() -> Mapping[str, Any]:
    """The annotation of each value of a slide's report."""
    return get_type_hints(SlideReport)


@cache
def _size_kinds() -> Mapping[str, Any]:
    """The annotation of each value of an output's size."""
    return get_type_hints(OutputSize)


@cache
def _parts(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """`dict` and `(str, int)` of `dict[str, int]`, None and () of `int`."""
    return get_origin(kind), get_args(kind)


def _is_of(kind: Any, value: Any) -> bool:
    """True if a value from JSON, with lists as tuples, has the type of an annotation."""
    base, inner = _parts(kind)
    if base is UnionType:
        return any(_is_of(each, value) for each in inner)
    if base is Literal:
        return value in inner
    if base is tuple:
        kinds = inner[:1] * len(value) if isinstance(value, tuple) and inner[1:] == (...,) else inner
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_is_of, kinds, value))
    if isinstance(base, type) and issubclass(base, Mapping):
        return isinstance(value, Mapping) and all(_is_of(inner[1], item) for item in value.values())
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


@frozen
class RunReport:
    """The outcome of a run.

    Attributes:
        slides: one report per slide, in input order.
        out: the output folder.
        pipeline: the pipeline as plain values.
        digest: of the pipeline.
        versions: by distribution: versions in this run. Skipped slides have the versions in their own reports.
        started: ISO 8601 with zone.
        seconds: wall time.
        dry_run: True if nothing was written.
        plan_only: True if tiles were not looked at either, so filters and normalizer decided nothing.
        problems: what went wrong besides slides: plugins that follow the run and failed, such as a count of tiles or a
            report that could not be written.
        is_left: True for a shard that ended while others were at work, one of which will tell of all slides; not in
            JSON.
        estimate: of a dry run, what the run would make; None if there was nothing to estimate it from. In JSON only
            if it is there.
        published: the address at which the run put what it made, without its secrets; "" if the output is local. In
            JSON only if there is one.
    """

    slides: tuple[SlideReport, ...]
    out: str
    pipeline: Mapping[str, Any] = field(converter=_without_secrets)
    digest: str
    versions: Mapping[str, str]
    started: str
    seconds: float
    dry_run: bool = False
    plan_only: bool = False
    problems: tuple[str, ...] = field(default=(), converter=_all_redacted)
    is_left: bool = field(default=False, eq=False)
    estimate: Estimate | None = None
    published: str = field(default="", converter=redacted)

    @property
    def is_good(self) -> bool:
        """True if no slide failed, and nothing else did."""
        return not self.failed and not self.problems

    @property
    def failed(self) -> tuple[SlideReport, ...]:
        """Slides that failed."""
        return tuple(slide for slide in self.slides if slide.status == "failed")

    @property
    def empty(self) -> tuple[SlideReport, ...]:
        """Slides that were done without a single tile; on a dry run, that would be."""
        return tuple(slide for slide in self.slides if slide.status != "failed" and slide.kept == 0)

    def as_table(self) -> dict[str, Any]:
        """Plain values for JSON."""
        apart = ("is_left", "estimate", *(() if self.published else ("published",)))
        table = attrs.asdict(self, recurse=False, filter=lambda attribute, _: attribute.name not in apart)
        estimate = {} if self.estimate is None else {"estimate": self.estimate.as_table()}
        return {**table, **estimate, "slides": [slide.as_table() for slide in self.slides]}
