"""What a report is about: the slides of one run, of an output folder, or of a folder of stored tiles."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from attrs import evolve, field, frozen
from slideloom import (
    ConfigError,
    OutputFolder,
    Pipeline,
    RunReport,
    SlideloomError,
    SlideReport,
    pipeline_from_table,
    registry,
)

BLUR_LIMIT = 0.05  # share of tissue out of focus that calls for a look, as in existing reports
Kind = Literal["run", "dry-run", "stored"]
_LABEL = re.compile(r"(?P<px>\d+)px_(?P<size>\d+(?:\.\d+)?)(?P<unit>um|x)")


@frozen
class Cohort:
    """The slides of one report.

    Attributes:
        out: folder that the reports' paths are relative to.
        label: tile size label.
        kind: of a "run", a "dry-run", or tiles found "stored" without a run's own files.
        slides: one report each.
        table: the pipeline as plain values; empty if it is not known.
        pipeline: the pipeline itself, or None if it is not known here.
        versions: distribution name to version.
        started: ISO 8601, or "".
        seconds: wall time, or None.
        notes: sentences about the cohort.
        files: where slides are now, by name; goes before the path in the report.
    """

    out: Path
    label: str
    kind: Kind
    slides: tuple[SlideReport, ...]
    table: Mapping[str, Any] = field(factory=dict)
    pipeline: Pipeline | None = None
    versions: Mapping[str, str] = field(factory=dict)
    started: str = ""
    seconds: float | None = None
    notes: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(factory=dict)

    @property
    def finished(self) -> tuple[SlideReport, ...]:
        """Slides that did not fail."""
        return tuple(slide for slide in self.slides if slide.status != "failed")

    @property
    def failed(self) -> tuple[SlideReport, ...]:
        """Slides that failed."""
        return tuple(slide for slide in self.slides if slide.status == "failed")

    @property
    def blurred(self) -> tuple[SlideReport, ...]:
        """Slides with more than 5% of their tissue out of focus."""
        return tuple(slide for slide in self.slides if (slide.blur_burden or 0.0) > BLUR_LIMIT)

    @property
    def qc_kinds(self) -> Mapping[str, str]:
        """What each slide QC step looks for: "background", "blur" or "artifact"."""
        return {step: kind for slide in self.slides for step, kind in slide.qc_kinds.items()}

    def kept(self, slide: SlideReport) -> int:
        """Tiles of a slide that were written, or on a dry run would be tried."""
        return slide.written + slide.rejected.get("dry-run", 0)

    def outcomes(self, slides: Iterable[SlideReport]) -> dict[str, int]:
        """Number of tiles by what became of them: "kept" first, then reasons, most frequent first."""
        counts: dict[str, int] = {}
        kept = unreadable = 0
        for slide in slides:
            kept += self.kept(slide)
            unreadable += slide.unreadable
            for reason, count in slide.rejected.items():
                if reason != "dry-run":
                    counts[reason] = counts.get(reason, 0) + count
        if unreadable:
            counts["unreadable"] = unreadable
        return {"kept": kept, **dict(sorted(counts.items(), key=lambda item: -item[1]))}

    def at(self, files: Sequence[Path]) -> Cohort:
        """The cohort with slides looked for among `files` first."""
        from slideloom import slide_name

        return evolve(self, files={**self.files, **{slide_name(path): path for path in files}})


def cohort_of(run: RunReport) -> Cohort:
    """The slides of a run that has just ended."""
    label = next((slide.label for slide in run.slides if slide.label), "")
    pipeline, notes = _pipeline(run.pipeline)
    return Cohort(
        out=Path(run.out),
        label=label,
        kind="dry-run" if run.dry_run else "run",
        slides=run.slides,
        table=run.pipeline,
        pipeline=pipeline,
        versions=run.versions,
        started=run.started,
        seconds=run.seconds,
        notes=notes,
    )


def cohorts_in(folder: Path) -> list[Cohort]:
    """What an output folder of runs, or any folder of stored tiles, holds: one cohort for each tile size.

    The folder of one tile size within an output folder, such as `out/tfrecords/299px_302um`, tells what its run tells.

    Raises:
        ConfigError: it is no folder, or holds neither.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; name the output folder of a run, or a folder of TFRecords")
    folder = folder.resolve()
    run = _run_around(folder)
    if run is not None and run.slides:
        return [run]
    found = {}
    for state in sorted((folder / "slideloom").glob("*/slides")):
        cohort = _of_state(OutputFolder(folder, state.parent.name))
        if cohort.slides:
            found[cohort.label] = cohort
    for cohort in _stored(folder):
        found.setdefault(cohort.label, cohort)
    if not found:
        raise ConfigError(f"{folder}: holds no slide reports and no TFRecords; was it the output folder of a run?")
    return list(found.values())


def _run_around(folder: Path) -> Cohort | None:
    """The run whose sink made this folder of one tile size, if its own files are still beside it."""
    root = OutputFolder(folder.parent.parent, folder.name)
    return _of_state(root) if (root.state / "slides").is_dir() else None


def _of_state(folder: OutputFolder) -> Cohort:
    slides, notes = [], []
    for path in sorted((folder.state / "slides").glob("*.json")):
        try:
            slides.append(SlideReport.load(path))
        except (OSError, ValueError, TypeError) as error:
            notes.append(f"{path.name} cannot be read and is left out: {error}")
    run = _read(folder.root / "extraction_report.json")
    of_this_size = any(slide.get("label") == folder.label for slide in run.get("slides", []))
    about = run if of_this_size else _read(folder.pipeline)
    table = about.get("pipeline", {})
    pipeline, more = _pipeline(table)
    return Cohort(
        out=folder.root,
        label=folder.label,
        kind="run",
        slides=tuple(slides),
        table=table,
        pipeline=pipeline,
        versions=about.get("versions", {}),
        started=about.get("started", ""),
        seconds=about.get("seconds"),
        notes=(*notes, *more),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the report then says less
        return {}
    return content if isinstance(content, dict) else {}


def _pipeline(table: Mapping[str, Any]) -> tuple[Pipeline | None, tuple[str, ...]]:
    if not table:
        return None, ("The settings of the run are not known.",)
    try:
        return pipeline_from_table(table, where="report"), ()
    except SlideloomError as error:
        return None, (f"Regions and normalized samples may be missing, as the settings do not fit here: {error}",)


def _stored(folder: Path) -> list[Cohort]:
    """A cohort for each folder of stored tiles, with what the files themselves say."""
    suffixes = {cls().build().suffix for cls in registry().all("store")}
    groups: dict[Path, list[Path]] = {}
    for path in sorted(item for suffix in suffixes for item in folder.rglob(f"*{suffix}")):
        if not path.name.startswith("."):
            groups.setdefault(path.parent, []).append(path)
    cohorts: dict[str, Cohort] = {}
    for home, paths in groups.items():
        label = next((part for part in reversed(home.parts) if _LABEL.fullmatch(part)), home.name)
        slides = tuple(_stored_slide(path, folder, label) for path in paths)
        earlier = cohorts[label].slides if label in cohorts else ()
        notes = ("Made from the stored tiles alone: what was left out, and why, is not known.",)
        cohorts[label] = Cohort(out=folder, label=label, kind="stored", slides=(*earlier, *slides), notes=notes)
    return list(cohorts.values())


def _stored_slide(path: Path, folder: Path, label: str) -> SlideReport:
    from slideloom_report.stored import open_store

    name = next(
        (path.name.removesuffix(s) for s in _suffixes() if path.name.endswith(s)),
        path.stem,
    )
    size = _LABEL.fullmatch(label)
    outputs = (path.relative_to(folder).as_posix(),)
    try:
        store = open_store(path)
        try:
            count = len(store)
            tile_px = store.read(0).shape[0] if count else 0
        finally:
            store.close()
    except SlideloomError as error:
        return SlideReport(slide=name, path="", status="failed", error=str(error), label=label, outputs=outputs)
    um = float(size["size"]) if size is not None and size["unit"] == "um" else 0.0
    return SlideReport(
        slide=name, path="", status="done", planned=count, written=count, label=label, tile_px=tile_px, tile_um=um,
        outputs=outputs,
    )  # fmt: skip


def _suffixes() -> list[str]:
    return [cls().build().suffix for cls in registry().all("store")]
