"""Reports as data: what became of every slide and every planned tile."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
from attrs import field, frozen

SlideStatus = Literal["done", "failed", "skipped"]


@frozen
class OutputSize:
    """What a file or folder held when it was finished: by it a later run, and loaders, know that it still does.

    Attributes:
        bytes: of the file, or of all files in the folder.
        files: 1, or the number of files in the folder.
        tiles: stored in it; 0 for what goes with tiles, such as an index.
        crc32: of the file's content (zlib's); of a folder, the sum over its files of the CRC of name and content,
            modulo 2**32. None if unknown.
        head: CRC-32 of the first 4096 bytes of the file, by which a cut one is known; None for a folder.
    """

    bytes: int
    files: int = 1
    tiles: int = 0
    crc32: int | None = None
    head: int | None = None


@frozen
class SlideReport:
    """What became of one slide. Holds `planned == written + sum(rejected) + unreadable` whenever status is "done".

    Attributes:
        slide: name.
        path: the file, as given.
        status: "done", "failed" (see `error`) or "skipped" (an earlier run finished it with the same digest).
        error: one message, or "".
        digest: of everything that affects the output.
        planned: tiles of the grid or placement.
        written: tiles in every sink.
        unreadable: tiles whose pixels could not be read.
        rejected: tiles by the step that rejected them first: "roi", "qc:otsu", "filter:grayspace", "normalizer",
            "max-tiles".
        fallback: tiles the normalizer used its fallback for; they are among `written`.
        label: tile size label, such as `299px_302um`.
        tile_px, tile_um: size of a tile.
        footprint: level-0 pixels, width and height.
        stride: level-0 pixels, along x and y.
        level: the level read.
        mpp: microns per pixel of level 0, x and y; None if the slide failed before they were known.
        mpp_source: where they come from.
        size: level-0 width and height.
        reader: name of the reader.
        rois: number of regions used.
        roi_labels: tiles written by region label.
        metrics: numbers of the QC steps by "step.metric", such as "otsu.masked".
        qc_kinds: what each QC step looks for, "background", "blur" or "artifact", by its name.
        blur_burden: share of tissue area that is out of focus, 0-1, or None if not measured.
        warnings: sentences.
        outputs: files and folders made, relative to the output folder; of a failed slide, what an earlier run left.
        tile_table: CSV with one row per planned tile, relative to the output folder, or "".
        sizes: what each output and the tile table held when the slide was finished.
        left: what earlier runs made of the slide with other sinks, and what is still there.
        foreign: files of other programs that have this slide's names, and that were left alone.
        versions: of the core and of each distribution that took part.
        seconds: wall time by stage ("open", "qc", "tiles", "commit").
    """

    slide: str
    path: str
    status: SlideStatus
    error: str = ""
    digest: str = ""
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
    rois: int = 0
    roi_labels: Mapping[str, int] = field(factory=dict)
    metrics: Mapping[str, float] = field(factory=dict)
    qc_kinds: Mapping[str, str] = field(factory=dict)
    blur_burden: float | None = None
    warnings: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    tile_table: str = ""
    sizes: Mapping[str, OutputSize] = field(factory=dict)
    left: Mapping[str, OutputSize] = field(factory=dict)
    foreign: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(factory=dict)
    seconds: Mapping[str, float] = field(factory=dict)

    @property
    def is_accounted(self) -> bool:
        """True if every planned tile was written, rejected by a named step, or unreadable."""
        return self.planned == self.written + sum(self.rejected.values()) + self.unreadable

    def as_table(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return attrs.asdict(self)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> SlideReport:
        """The report out of `as_table`'s values; keys of newer versions are left out.

        Raises:
            ValueError: they are not those of a report.
        """
        if not isinstance(table, Mapping) or not isinstance(table.get("slide"), str) or "status" not in table:
            raise ValueError("it is not the report of a slide")
        known = attrs.fields_dict(cls)
        values: dict[str, Any] = {
            key: tuple(item) if isinstance(item, list) else item for key, item in table.items() if key in known
        }
        for key in ("planned", "written", "unreadable"):
            if not isinstance(values.get(key, 0), int):
                raise ValueError(f"its {key!r} is {values[key]!r}, not a number")
        for key in ("rejected", "sizes", "left", "versions"):
            if not isinstance(values.get(key, {}), Mapping):
                raise ValueError(f"its {key!r} is {values[key]!r}, not a table")
        for key in ("outputs", "foreign"):
            if not all(_is_inside(item) for item in values.get(key, ())):
                raise ValueError(f"its {key!r} are {values[key]!r}, not names in the output folder")
        for key in ("sizes", "left"):
            values[key] = output_sizes(values.get(key, {}))
        return cls(**values)

    @classmethod
    def load(cls, path: Path) -> SlideReport:
        """The report stored at `path`.

        Raises:
            OSError: it cannot be read.
            ValueError: it is not a report.
        """
        return cls.from_table(json.loads(path.read_text(encoding="utf-8")))


def output_sizes(table: Mapping[str, Any]) -> dict[str, OutputSize]:
    """Sizes by output out of plain values.

    Raises:
        ValueError: they are not that.
    """
    names = attrs.fields_dict(OutputSize)
    sizes = {}
    for path, values in table.items():
        if not _is_inside(path) or not isinstance(values, Mapping) or not isinstance(values.get("bytes"), int):
            raise ValueError(f"{path!r} has the size {values!r}")
        sizes[path] = OutputSize(**{name: value for name, value in values.items() if name in names})
    return sizes


def _is_inside(path: Any) -> bool:
    """True for the name of a file in the output folder, as reports write it."""
    return isinstance(path, str) and not path.startswith("/") and ".." not in path.split("/")


@frozen
class RunReport:
    """What became of a run.

    Attributes:
        slides: one report per slide, in input order.
        out: the output folder.
        pipeline: the pipeline as plain values.
        digest: of the pipeline.
        versions: distribution name to version.
        started: ISO 8601 with zone.
        seconds: wall time.
        dry_run: True if nothing was written.
    """

    slides: tuple[SlideReport, ...]
    out: str
    pipeline: Mapping[str, Any]
    digest: str
    versions: Mapping[str, str]
    started: str
    seconds: float
    dry_run: bool = False

    @property
    def failed(self) -> tuple[SlideReport, ...]:
        """Slides that failed."""
        return tuple(slide for slide in self.slides if slide.status == "failed")

    @property
    def empty(self) -> tuple[SlideReport, ...]:
        """Slides that ended without a single tile."""
        return tuple(slide for slide in self.slides if slide.status != "failed" and slide.written == 0)

    def as_table(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return attrs.asdict(self)
