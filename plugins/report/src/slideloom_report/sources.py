"""The slides of several output folders as those of one run: each slide once, and only runs with the same settings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import slideloom as sl
from attrs import evolve

from slideloom_report.cohort import Cohort, cohorts_in

_NAMED = 5  # slides that a sentence names


def cohorts_of(folders: Sequence[Path]) -> list[list[Cohort]]:
    """The cohorts of several folders, one list for each tile size, in the order of the folders.

    A folder that holds several output folders, and is none itself, stands for these.

    Raises:
        ConfigError: a folder is missing, or has neither reports of slides nor stored tiles.
    """
    found: dict[str, list[Cohort]] = {}
    for folder in dict.fromkeys(path.resolve() for each in folders for path in output_folders(each)):
        for cohort in cohorts_in(folder):
            found.setdefault(cohort.label, []).append(cohort)
    return list(found.values())


def output_folders(folder: Path) -> list[Path]:
    """The folder itself, or the output folders of runs in it if it is none."""
    if any(folder.glob("slideloom/*/slides")):
        return [folder]
    within = sorted({path.parents[2] for path in folder.glob("*/slideloom/*/slides")})
    return within or [folder]


def merged(cohorts: Sequence[Cohort], out: Path, *, mixed: bool) -> Cohort:
    """Several cohorts with tiles of one size as one.

    A slide that is in several of them counts once: as in the first that finished it, else as in the first.

    Args:
        cohorts: at least one.
        out: the folder that the report is for.
        mixed: also cohorts that were made with different settings.

    Raises:
        ConfigError: settings differ, or slides of one name are different files, and it is not `mixed`.
    """
    if not mixed:
        _check_settings(cohorts)
    places: dict[str, list[tuple[Cohort, sl.SlideReport]]] = {}
    for cohort in cohorts:
        for slide in cohort.slides:
            places.setdefault(slide.slide, []).append((cohort, slide))
    if not mixed:
        for name, found in places.items():
            _check_same(name, found)
    chosen = {
        name: next((one for one in found if one[1].status != "failed"), found[0]) for name, found in places.items()
    }
    several = [name for name, found in places.items() if len(found) > 1]
    homes = {name: cohort.home(slide) for name, (cohort, slide) in chosen.items()}
    first = cohorts[0]
    return evolve(
        first,
        out=out,
        kind=first.kind if len({cohort.kind for cohort in cohorts}) == 1 else "run",
        slides=tuple(slide for _, slide in chosen.values()),
        versions={name: version for cohort in reversed(cohorts) for name, version in cohort.versions.items()},
        notes=tuple(dict.fromkeys([*_notes(cohorts, several, mixed=mixed), *(n for c in cohorts for n in c.notes)])),
        homes=homes,
    )


def _notes(cohorts: Sequence[Cohort], several: Sequence[str], *, mixed: bool) -> Iterator[str]:
    counts = ", ".join(f"{cohort.out} with {len(cohort.slides)}" for cohort in cohorts)
    yield f"Slides of {len(cohorts)} output folders: {counts}."
    if several:
        some = ", ".join(several[:_NAMED]) + (", ..." if len(several) > _NAMED else "")
        slides = "1 slide is" if len(several) == 1 else f"{len(several)} slides are"
        yield f"{slides} in more than one of them and counted once, as in the first that finished it: {some}."
    if mixed and len(_digests(cohorts)) > 1:
        yield f"The runs had different settings; those of {cohorts[0].out} are shown."


def _digests(cohorts: Sequence[Cohort]) -> dict[str, Cohort]:
    """For each pipeline that finished slides, one cohort; "" stands for tiles without a report."""
    return {slide.pipeline_digest: cohort for cohort in reversed(cohorts) for slide in reversed(cohort.finished)}


def _check_settings(cohorts: Sequence[Cohort]) -> None:
    found = list(dict.fromkeys(cohort.out for cohort in reversed(_digests(cohorts).values())))
    if len(_digests(cohorts)) < 2:
        return
    tables = [dict(cohort.table) for cohort in cohorts if cohort.out in found]
    differences = sl.pipeline_differences(_made_by(tables[0]), _made_by(tables[-1])) if len(tables) > 1 else []
    listed = "".join(f"\n  {line}" for line in differences)
    raise sl.ConfigError(
        f"{', '.join(map(str, found))}: made with different settings:{listed or ' which ones is not known'}\n"
        f"report on each by itself, or on all as one with {sl.option_given('report', 'mixed', True)}"
    )


def _made_by(table: dict[str, Any]) -> dict[str, Any]:
    """The settings that make the output."""
    slides = table.get("slides", {})
    kept = {key: value for key, value in slides.items() if key not in ("include", "exclude", "recursive")}
    return {**{key: value for key, value in table.items() if key != "run"}, "slides": kept}


def _check_same(name: str, found: Sequence[tuple[Cohort, sl.SlideReport]]) -> None:
    finished = {slide.digest: cohort for cohort, slide in found if slide.status != "failed"}
    if len(finished) > 1:
        places = " and in ".join(str(cohort.out) for cohort in finished.values())
        raise sl.ConfigError(
            f"{name}: is another slide, or was made differently, in {places}; leave one of these folders out, or count "
            f"the first with {sl.option_given('report', 'mixed', True)}"
        )


def write_manifests(cohort: Cohort) -> list[Path]:
    """Write what programs read about the slides of several output folders, and return the paths.

    `manifest.json` has the number of tiles of each TFRecord file, by its path from the report's folder, and
    `errors.csv` the slides that failed; if none did, an earlier list is removed.

    Raises:
        OutputError: they cannot be written, or another program's files have these names.
    """
    totals = {
        _from(cohort.out, cohort.home(slide) / output): {"total": slide.written}
        for slide in cohort.finished
        for output in slide.outputs
        if output.endswith(".tfrecords")
    }
    manifest, errors = cohort.out / "manifest.json", cohort.out / "errors.csv"
    header = ("slide", "path", "error")
    with sl.storing_in(cohort.out):
        sl.make_room(manifest, _is_manifest)
        sl.make_room(errors, lambda content: content.startswith(sl.utf8(sl.csv_text(header, ()))))
        sl.write_whole(manifest, sl.utf8(sl.json_text(dict(sorted(totals.items()))) + "\n"))
        if not cohort.failed:
            errors.unlink(missing_ok=True)
            return [manifest]
        sl.write_whole(errors, sl.utf8(sl.csv_text(header, ((s.slide, s.path, s.error) for s in cohort.failed))))
    return [manifest, errors]


def _from(folder: Path, path: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder.resolve())).as_posix()
    except ValueError:  # on another drive
        return path.as_posix()


def _is_manifest(content: bytes) -> bool:
    try:
        return isinstance(sl.parse_json(content), dict)
    except ValueError:
        return False
