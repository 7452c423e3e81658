"""Knows a finished slide again without opening or copying it.

What opening a slide told (its levels, its resolution, its reader) is noted beside its report, with its identity. A
later run asks for the identity only. If it is the same, what was noted is the slide's, and its plan and digest are made
of that, just as of the open slide: the report is believed by the same rules. Else the slide is opened.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from slideloom.base.addresses import Address, SlidePlace
from slideloom.base.geometry import Box, Size
from slideloom.base.parsing import parse_json
from slideloom.base.storing import write_json
from slideloom.extraction.extras import missing_files
from slideloom.extraction.finished import Earlier
from slideloom.extraction.nesting import refuse_second_name
from slideloom.extraction.output_folder import OutputFolder
from slideloom.pipeline.pipeline import Pipeline, Slides
from slideloom.planning.opening import open_slide
from slideloom.planning.plan import SlidePlan, plan_slide, slide_digest
from slideloom.planning.remote_copies import identity_at, looks_plain
from slideloom.planning.slide_files import fingerprint
from slideloom.plugins.discovery import registry
from slideloom.plugins.versions import opening_versions, step_versions
from slideloom.settings.digest import digest_of
from slideloom.slides.closed_slide import ClosedSlide, KnownProperties
from slideloom.slides.info import Level, Resolution, SlideInfo
from slideloom.slides.names import NamedSlide
from slideloom.slides.slide import Slide
from slideloom.steps.reports import SlideReport

log = logging.getLogger(__name__)

NO_VERSIONS = "its server tells neither ETag nor date of its files"


def finished_report(plan: SlidePlan, earlier: Earlier, digest: str) -> tuple[SlideReport | None, str]:
    """See `Earlier.finished`; versions matter only if the run says so."""
    pipeline = plan.pipeline
    versions = step_versions(pipeline.steps, reader=plan.slide.info.reader) if pipeline.run.redo_updated else None
    return earlier.finished(digest, versions=versions)


def finished_unopened(folder: OutputFolder, slide: NamedSlide, pipeline: Pipeline) -> SlideReport | None:
    """The report of a slide that is finished, with all files that the run asks for; None if it must be opened."""
    needs_pixels = any(step.reads_slide for step in (pipeline.places, *(use.source for use in pipeline.roi)))
    try:
        note = folder.opened(slide.name)
        if needs_pixels or not note.is_file() or (earlier := _promising(folder, slide, pipeline)) is None:
            return None
        closed = _closed(note, slide, pipeline.slides)
        return None if closed is None else _finished_as_planned(folder, slide, plan_slide(closed, pipeline), earlier)
    except Exception:  # whatever it is, whoever opens the slide meets it, too, and says so
        log.debug("%s must be opened to know whether it is finished", slide.name, exc_info=True)
        return None


def finished_where_it_is(folder: OutputFolder, slide: NamedSlide, pipeline: Pipeline) -> bool:
    """True if a slide that can be opened where it is, without a copy, is finished with all files that the run asks for.

    Raises:
        SlideloomError: it cannot be opened or planned.
    """
    earlier = _promising(folder, slide, pipeline)
    if earlier is None:
        return False
    with open_slide(slide, slides=pipeline.slides) as opened:
        return _finished_as_planned(folder, slide, plan_slide(opened, pipeline), earlier) is not None


def _promising(folder: OutputFolder, slide: NamedSlide, pipeline: Pipeline) -> Earlier | None:
    """What is known of a slide that is finished unless it has changed; None for any other."""
    earlier = Earlier.of(folder, slide.name)
    report = earlier.report
    if pipeline.run.redo or report is None or report.status == "failed" or earlier.interrupted is not None:
        return None
    return earlier if report.pipeline_digest == pipeline.digest() else None


def _finished_as_planned(
    folder: OutputFolder, slide: NamedSlide, plan: SlidePlan, earlier: Earlier
) -> SlideReport | None:
    """The report of a slide that is finished as it is planned, with all files that the run asks for; or None."""
    refuse_second_name(folder, slide)
    report, _ = finished_report(plan, earlier, slide_digest(plan))
    if report is None or missing_files(plan.pipeline, folder, report):
        return None
    return attrs.evolve(report, status="skipped")


def note_opened(
    folder: OutputFolder,
    slide: Slide,
    called: NamedSlide,
    *,
    properties: Mapping[str, str | None] | None,
    rules: Slides,
) -> str:
    """Note what an open slide tells, for `finished_unopened`; why it cannot be known again, or "".

    Args:
        folder: of the output.
        slide: open, with its mpp.
        called: its place and names.
        properties: those that its plan was made of; None if these are all.
        rules: by which it was opened.
    """
    info, place = slide.info, called.place
    if properties is None:
        return ""
    try:
        if not isinstance(place, Address):
            identity = fingerprint(place)
        else:
            identity = slide.identity or []
            if place.is_folder or registry().formats.folder_of(place) is not None:
                return ""  # it is read where it is
            outside = identity_at(place, registry())
            if outside is None:
                return NO_VERSIONS
            if len(outside) != len(identity) or not looks_plain(place, registry()):
                return "which files it consists of, only a copy of it tells"
            if outside != identity:
                return "its server tells another version of the same file each time"
        table = {
            "place": str(place),
            "names": list(called.names),
            "opened_by": _opened_by(rules),
            "identity": identity,
            "info": _info_table(info),
            "properties": dict(properties),
        }
        path = folder.opened(called.name)
        if _read(path) != table and _info_of(table, called) == attrs.evolve(info, properties={}):
            write_json(path, table)
    except Exception as error:  # the slide is finished all the same, whatever a reader has put into its info
        log.info("%s: what opening it told cannot be noted, so the next run opens it again: %s", called.name, error)
    return ""


def _closed(note: Path, slide: NamedSlide, rules: Slides) -> ClosedSlide | None:
    """The slide as it was noted; None if it is another by now, or might be opened otherwise."""
    table = _read(note)
    if table is None or [table["place"], table["names"]] != [str(slide.place), list(slide.names)]:
        return None
    if table["opened_by"] != _opened_by(rules) or table["identity"] != _identity_of(slide.place):
        return None
    info = attrs.evolve(_info_of(table, slide), properties=KnownProperties(table["properties"]))
    return ClosedSlide(info, table["identity"])


def _identity_of(place: SlidePlace) -> list[object] | None:
    return identity_at(place, registry()) if isinstance(place, Address) else fingerprint(place)


def _opened_by(rules: Slides) -> str:
    """A digest of everything besides the file that decides what opening a slide tells."""
    readers = [cls.name for cls in registry().all("reader")]
    return digest_of({"rules": rules, "readers": readers, "versions": opening_versions()})


def _read(path: Path) -> dict[str, Any] | None:
    try:
        table = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return table if isinstance(table, dict) else None


def _info_table(info: SlideInfo) -> dict[str, Any]:
    """What is known of a slide besides its name and place, as plain values."""
    apart = ("path", "name", "shares_name", "properties")
    return attrs.asdict(info, filter=lambda attribute, _: attribute.name not in apart)


def _info_of(table: Mapping[str, Any], slide: NamedSlide) -> SlideInfo:
    """What is known of a slide, from the values of `_info_table`."""
    known = dict(table["info"])
    for name in ("mpp", "tiff_mpp"):
        known[name] = None if known[name] is None else Resolution(**known[name])
    known["bounds"] = None if known["bounds"] is None else Box(**known["bounds"])
    known["levels"] = tuple(Level(**{**level, "size": Size(**level["size"])}) for level in known["levels"])
    known["background"] = tuple(known["background"])
    return SlideInfo(path=slide.place, name=slide.name, shares_name=slide.shares_name, **known)
