"""The subject of a report: the slides of a run, of an output folder, or of a folder of stored tiles."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import slideloom as sl
from attrs import evolve, field, frozen

from slideloom_report.tiles import opened_store, tile_stores

BLUR_LIMIT = 0.05  # share of tissue out of focus that should be checked, as in existing reports
_GIVEN = "given"  # slide QC that was an object in Python: what it masked is counted, and it cannot be run again here
Kind = Literal["run", "dry-run", "plan-only", "stored"]
_OWN, _CORE = "slideloom-", "slideloom-core"
_LABEL = re.compile(r"(?P<px>\d+)px_(?P<size>\d+(?:\.\d+)?)(?P<unit>um|x)")


@frozen
class Cohort:
    """The slides of one report.

    Attributes:
        out: folder to which the reports' paths are relative.
        label: tile size label.
        kind: "run", "dry-run", "plan-only" for a dry run that read no tile, or "stored" for stored tiles without a
            run's own files.
        slides: one report each.
        table: the pipeline as plain values; empty if unknown.
        pipeline: the pipeline itself, or None if unknown.
        versions: distribution name to version.
        started: ISO 8601, or "".
        notes: sentences about the cohort.
        files: present paths of slides, by name; take precedence over the path in the report.
        homes: of slides of several output folders, by name: the folder that each is in.
    """

    out: Path
    label: str
    kind: Kind
    slides: tuple[sl.SlideReport, ...]
    table: Mapping[str, Any] = field(factory=dict)
    pipeline: sl.Pipeline | None = None
    versions: Mapping[str, str] = field(factory=dict)
    started: str = ""
    notes: tuple[str, ...] = ()
    files: Mapping[str, sl.SlidePlace] = field(factory=dict)
    homes: Mapping[str, Path] = field(factory=dict)

    def home(self, slide: sl.SlideReport) -> Path:
        """The output folder that the paths in a slide's report start from."""
        return self.homes.get(slide.slide, self.out)

    @property
    def kept_name(self) -> str:
        """What the tiles that `kept` counts are."""
        return {"dry-run": "tiles to be written", "plan-only": "tiles planned"}.get(self.kind, "tiles stored")

    @property
    def versions_text(self) -> str:
        """The versions of all distributions, those of slideloom with one version together."""
        own: dict[str, list[str]] = {}
        others = []
        for name, version in self.versions.items():
            if name.startswith(_OWN) and name != _CORE:
                own.setdefault(version, []).append(name.removeprefix(_OWN))
            elif name != _CORE:
                others.append(f"{name} {version}")
        core = [f"{_CORE} {self.versions[_CORE]}"] if _CORE in self.versions else []
        plugins = [f"slideloom plugins {version}: {', '.join(names)}" for version, names in own.items()]
        return "; ".join([*core, *others, *plugins])

    @property
    def finished(self) -> tuple[sl.SlideReport, ...]:
        """Slides that did not fail."""
        return tuple(slide for slide in self.slides if slide.status != "failed")

    @property
    def failed(self) -> tuple[sl.SlideReport, ...]:
        """Slides that failed."""
        return tuple(slide for slide in self.slides if slide.status == "failed")

    @property
    def blurred(self) -> tuple[sl.SlideReport, ...]:
        """Slides with more than 5% of their tissue out of focus."""
        return tuple(slide for slide in self.slides if (slide.blur_burden or 0.0) > BLUR_LIMIT)

    @cached_property  # asked for on the page of every slide
    def qc_colours(self) -> Mapping[str, tuple[int, int, int]]:
        """Colours of the reasons of slide QC: those of steps by what they detect, each class of a step its own."""
        kinds = {step: kind for slide in self.slides for step, kind in slide.qc_kinds.items()}
        classes = {step: found for slide in self.slides for step, found in slide.qc_classes.items()}
        return sl.reason_colours(kinds, classes)

    @cached_property
    def told_looks(self) -> Mapping[str, sl.LineLook]:
        """How areas of classes are outlined that slide QC tells but keeps, by reason."""
        told: dict[str, dict[str, int]] = {}
        for slide in self.slides:
            for step, classes in slide.qc_told.items():
                told.setdefault(step, {}).update(classes)
        return sl.told_looks(told)

    def kept(self, slide: sl.SlideReport) -> int:
        """Tiles of a slide that were written or, in a dry run, would go on."""
        return slide.kept

    def outcomes(self, slides: Sequence[sl.SlideReport]) -> dict[str, int]:
        """Number of tiles by outcome: "kept" first, then reasons, most frequent first."""
        counts: Counter[str] = Counter()
        for slide in slides:
            counts.update({**slide.rejected, "unreadable": slide.unreadable})
        for trial in ("dry-run", "plan-only"):  # these are kept
            counts.pop(trial, None)
        kept = sum(self.kept(slide) for slide in slides)
        return {"kept": kept, **{reason: count for reason, count in counts.most_common() if count}}

    def told(self, slides: Sequence[sl.SlideReport]) -> dict[str, int]:
        """Number of kept tiles with each class that slide QC tells but keeps, by reason."""
        counts: dict[str, int] = {}
        for slide in slides:
            for step, classes in slide.qc_told.items():
                for name, count in classes.items():
                    reason = f"qc:{step}:{name}"
                    counts[reason] = counts.get(reason, 0) + count
        return counts

    @property
    def has_folders(self) -> bool:
        """True if names of slides tell folders."""
        return any("/" in slide.slide for slide in self.slides)

    def shares_name(self, slide: sl.SlideReport) -> bool:
        """True if another slide here has the same name but for the folders."""
        own = sl.own_name(slide.slide)
        return any(sl.own_name(other.slide) == own and other.slide != slide.slide for other in self.slides)

    def at(self, files: Sequence[sl.NamedSlide]) -> Cohort:
        """The cohort, with slides searched among `files` first."""
        return evolve(self, files={**self.files, **{file.name: file.place for file in files}})


def cohort_of(run: sl.RunReport) -> Cohort:
    """The slides of a run that has just ended."""
    label = next((slide.label for slide in run.slides if slide.label), "")
    about = {"pipeline": run.pipeline, "versions": run.versions, "started": run.started}
    kind: Kind = "plan-only" if run.plan_only else "dry-run" if run.dry_run else "run"
    notes: tuple[str, ...] = ()
    if run.estimate is not None:
        of, *totals = run.estimate.words()
        notes = (f"A run is estimated to make {', '.join(totals[:-1])}, in {totals[-1]} ({of}).",)
    return _cohort(Path(run.out), label, run.slides, about, kind=kind, notes=notes)


def _cohort(
    out: Path,
    label: str,
    slides: Sequence[sl.SlideReport],
    about: Mapping[str, Any],
    *,
    kind: Kind = "run",
    notes: Sequence[str] = (),
) -> Cohort:
    """Slides of a run; `about` is its report as plain values."""
    table, pipeline = about.get("pipeline", {}), None
    try:
        known = {**table, "qc": [step for step in table.get("qc", []) if step["use"] != _GIVEN]}
        pipeline = sl.pipeline_from_table(known, where="report") if table else None
        more = [] if table else ["The settings of the run are not known."]
    except sl.SlideloomError as error:
        more = [f"Regions and normalized samples may be missing, because the settings cannot be used here: {error}"]
    told = {"versions": about.get("versions", {}), "started": about.get("started", "")}
    return Cohort(out, label, kind, tuple(slides), table, pipeline, notes=(*notes, *more), **told)


def cohorts_in(folder: Path) -> list[Cohort]:
    """The cohorts in an output folder of runs, or in any folder of stored tiles: one for each tile size.

    For the folder of one tile size within an output folder, such as `out/tfrecords/299px_302um`, its run is used.

    Raises:
        ConfigError: it is not a folder, or has neither.
    """
    if not folder.is_dir():
        raise sl.ConfigError(f"{folder}: no such folder; name the output folder of a run, or a folder of TFRecords")
    folder = folder.resolve()
    run = _run_around(folder)
    if run is not None and run.slides:
        return [run]
    found = {}
    for state in sorted((folder / "slideloom").glob("*/slides")):
        cohort = _of_state(sl.OutputFolder(folder, state.parent.name))
        if cohort.slides:
            found[cohort.label] = cohort
    for cohort in _stored(folder):
        found.setdefault(cohort.label, cohort)
    if not found:
        raise sl.ConfigError(f"{folder}: holds no slide reports and no TFRecords; was it the output folder of a run?")
    return list(found.values())


def _run_around(folder: Path) -> Cohort | None:
    """The run whose sink made this folder of one tile size, if the run's own files are still beside it."""
    root = sl.OutputFolder(folder.parent.parent, folder.name)
    return _of_state(root) if (root.state / "slides").is_dir() else None


def _of_state(folder: sl.OutputFolder) -> Cohort:
    slides, notes = [], []
    home = folder.state / "slides"
    for path in sorted(path for path in home.rglob("*.json") if path.is_file()):
        try:
            slides.append(sl.SlideReport.load(path))
        except (OSError, ValueError, TypeError) as error:
            notes.append(f"{path.relative_to(home).as_posix()} cannot be read and is left out: {error}")
    run = _read(folder.root / "extraction_report.json")
    is_of_this_size = any(isinstance(one, dict) and one.get("label") == folder.label for one in run.get("slides", []))
    about = run if is_of_this_size else _read(folder.pipeline)
    return _cohort(folder.root, folder.label, slides, about, notes=notes)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = sl.parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the report then has less information
        return {}
    return content if isinstance(content, dict) else {}


def _stored(folder: Path) -> list[Cohort]:
    """A cohort for each label of stored tiles, with information from the files themselves."""
    slides: dict[str, list[sl.SlideReport]] = {}
    for stores in tile_stores():
        for path in sorted(folder.rglob(f"*{stores.suffix}")):
            if not path.name.startswith("."):
                home = next((home for home in path.parents if _LABEL.fullmatch(home.name)), path.parent)
                label = home.name
                name = path.relative_to(home).as_posix().removesuffix(stores.suffix)
                slides.setdefault(label, []).append(_stored_slide(name, path, folder, label))
    note = "Made only from the stored tiles: which tiles were left out, and why, is not known."
    return [Cohort(folder, label, "stored", tuple(found), notes=(note,)) for label, found in slides.items()]


def _stored_slide(name: str, path: Path, folder: Path, label: str) -> sl.SlideReport:
    outputs = (path.relative_to(folder).as_posix(),)
    try:
        with opened_store(path) as store:
            count = len(store)
            tile_px = store.read(0).shape[0] if count else 0
    except sl.SlideloomError as error:
        return sl.SlideReport(slide=name, path="", status="failed", error=str(error), label=label, outputs=outputs)
    size = _LABEL.fullmatch(label)
    um = float(size["size"]) if size is not None and size["unit"] == "um" else 0.0
    return sl.SlideReport(
        slide=name, path="", status="done", planned=count, written=count, label=label, tile_px=tile_px, tile_um=um,
        outputs=outputs,
    )  # fmt: skip
