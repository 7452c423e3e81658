"""Slides in folders: an output folder holds no slide under two names, and no slide within the output of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from slideloom.base.addresses import Address, place_of
from slideloom.base.errors import ConfigError, OutputError
from slideloom.base.storing import names_in
from slideloom.extraction.output_folder import OutputFolder
from slideloom.slides.names import NamedSlide, folders_of, own_name
from slideloom.steps.reports import SlideReport


class SecondName(OutputError):
    """A slide is in the output folder under another name."""


def refuse_second_name(folder: OutputFolder, slide: NamedSlide) -> None:
    """Refuse a slide that an earlier run stored under another name, because it named another folder.

    The slide would be in the output folder twice. Its other names are known: they are ends of its path.

    Raises:
        SecondName: it is there under another name.
    """
    for name in _other_names(slide):
        report = _finished(folder, name)
        if report is not None and _is_of(report, slide):
            raise SecondName(
                f"{slide.place}: is in {folder.root} already, under the name {name}, and would be there twice; name "
                "the same folders as for that run, or use another output folder"
            )


def refuse_nesting(folder: OutputFolder, slide: str, targets: Sequence[Path]) -> None:
    """Refuse outputs within a folder that is the output of another slide, or that holds outputs of others.

    Raises:
        OutputError: there are such.
    """
    for name in folders_of(slide):
        report = _finished(folder, name)
        for output in report.outputs if report is not None else ():
            within = [path for path in targets if path.is_relative_to(folder.root / output)]
            if within:
                raise OutputError(f"{within[0]}: lies in {output}, which holds the tiles of slide {name}; {_REMEDY}")
    below = folder.report(slide).with_name(own_name(slide))
    if not below.is_dir():
        return
    for name in names_in(below, ".json"):
        report = _finished(folder, f"{slide}/{name}")
        for output in report.outputs if report is not None else ():
            over = [path for path in targets if (folder.root / output).is_relative_to(path)]
            if over:
                raise OutputError(f"{over[0]}: holds {output}, which is of slide {slide}/{name}; {_REMEDY}")


_REMEDY = "rename the slide, or the folder of its name, or use another output folder"


def _other_names(slide: NamedSlide) -> Iterator[str]:
    """All names that the slide can have, but for its own: by its file, with some of the folders that it is in."""
    place, own = slide.place, own_name(slide.name)
    parts = place.url.split("/") if isinstance(place, Address) else list(place.absolute().parts)
    folders = [part for part in parts[:-1] if part.strip("/")]
    for count in range(len(folders) + 1):
        name = "/".join((*folders[len(folders) - count :], own))
        if name != slide.name:
            yield name


def _finished(folder: OutputFolder, name: str) -> SlideReport | None:
    """The report of a slide that is not known to have failed; None if there is none, or if it cannot be read."""
    try:
        path = folder.report(name)
        if not path.is_file():  # most other names have none, and to look costs less than to open
            return None
        report = SlideReport.load(path)
    except (OSError, ValueError, TypeError, OutputError):  # a damaged report is its own slide's matter
        return None
    return None if report.status == "failed" and not report.outputs else report


def _is_of(report: SlideReport, slide: NamedSlide) -> bool:
    if isinstance(slide.place, Address):
        return report.path == str(slide.place)
    try:
        then = place_of(report.path)
        return isinstance(then, Path) and then.samefile(slide.place)
    except (OSError, ConfigError):  # that file is gone
        return False
