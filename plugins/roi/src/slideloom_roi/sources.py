"""Finds the file of a slide in a folder, reads it, and adds file and position to errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import evolve, frozen
from slideloom import Regions, RoiError, RoiSource, SlideInfo

from slideloom_roi.contents import decoded
from slideloom_roi.csv_reader import parse_csv
from slideloom_roi.drafts import Mistake, Parsed
from slideloom_roi.finding import files_of, left_to_others, near_misses, places_of
from slideloom_roi.folders import folder_at
from slideloom_roi.geojson_reader import parse_geojson
from slideloom_roi.ndpa_reader import parse_ndpa
from slideloom_roi.settings import BoundsRule, GeoJson, Ndpa, QuPathCsv, RegionFiles, RoiFolder, Xml
from slideloom_roi.tidying import Rules, tidy
from slideloom_roi.xml_reader import is_annotation_file, parse_xml

Parser = Callable[[Path, bytes, SlideInfo], Parsed]


@frozen
class Format:
    """A file format.

    Attributes:
        suffixes: endings that follow the slide's name in a file name.
        parse: parses a file, from its path, its content and the slide.
        bounds: the origin of coordinates.
        is_own: True for content in this format; checked if other programs use the suffix too.
    """

    suffixes: tuple[str, ...]
    parse: Parser
    bounds: BoundsRule = "none"
    is_own: Callable[[bytes], bool] | None = None


def qupath_csv(settings: QuPathCsv) -> FolderOfRegions:
    """The source of these settings."""
    return FolderOfRegions(settings, [_csv(settings.suffix, settings.label, settings.bounds)])


def geojson(settings: GeoJson) -> FolderOfRegions:
    """The source of these settings."""
    return FolderOfRegions(settings, [_geojson(settings.label, settings.bounds)])


def ndpa(settings: Ndpa) -> FolderOfRegions:
    """The source of these settings."""
    return FolderOfRegions(settings, [_ndpa()])


def xml(settings: Xml) -> FolderOfRegions:
    """The source of these settings."""
    return FolderOfRegions(settings, [_xml(settings.bounds)])


def any_format(settings: RoiFolder) -> FolderOfRegions:
    """The source of these settings."""
    bounds = settings.bounds
    csv, json = _csv(".csv", "label", bounds), _geojson("classification", bounds)
    return FolderOfRegions(settings, [csv, json, _ndpa(), evolve(_xml(bounds), is_own=is_annotation_file)])


def _csv(suffix: str, label: str, bounds: BoundsRule) -> Format:
    return Format((suffix,), lambda path, raw, _info: parse_csv(path, raw, label_column=label), bounds)


def _geojson(label: str, bounds: BoundsRule) -> Format:
    parse = _of_text(lambda text, _info: parse_geojson(text, label_property=label))
    return Format((".geojson", ".json"), parse, bounds)


def _ndpa() -> Format:
    return Format((".ndpa",), _of_text(parse_ndpa))


def _xml(bounds: BoundsRule) -> Format:
    return Format((".xml", ".annotations"), _of_text(lambda text, _info: parse_xml(text)), bounds)


def _of_text(parse: Callable[[str, SlideInfo], Parsed]) -> Parser:
    def parsed(_path: Path, raw: bytes, info: SlideInfo) -> Parsed:
        text, notes = decoded(raw)
        found = parse(text, info)
        return evolve(found, notes=(*notes, *found.notes))

    return parsed


class FolderOfRegions(RoiSource):
    """A folder with one file of regions per slide.

    Raises:
        ConfigError: there is no such folder.
    """

    def __init__(self, settings: RegionFiles, formats: Sequence[Format]) -> None:
        self._settings = settings
        self._formats = formats
        self._suffixes = tuple(suffix for form in formats for suffix in form.suffixes)
        self._folder = folder_at(settings.folder, self._suffixes, used_by=settings.name)

    def regions(self, info: SlideInfo) -> Regions | None:
        """The regions in the slide's file, or None if there is no file, and none that looks as if it were meant.

        Raises:
            RoiError: there are several files for the slide, or its file cannot be parsed.
        """
        notes: list[str] = []
        for within, stems in places_of(info).items():
            paths = self._folder.files(within)
            found = self._found(paths, stems, notes)
            if len(found) > 1:
                names = ", ".join(path.name for _, path, _ in found)
                raise RoiError(
                    f"{self._folder}: several files for slide {info.name}: {names}; keep one of them"
                    + (", or name the format (such as qupath-csv)" if len(self._formats) > 1 else "")
                )
            if found:
                return self._load(*found[0], info)
            notes += near_misses(paths, info, self._suffixes, shown=self._folder.shown)
        notes += left_to_others(self._folder.files(), info, self._suffixes, shown=self._folder.shown)
        return Regions(notes=tuple(notes)) if notes else None

    def _found(
        self, paths: Sequence[Path], stems: Sequence[str], notes: list[str]
    ) -> list[tuple[Format, Path, bytes | None]]:
        """The files with these names and their formats, with the content of those that were read to tell these."""
        found: list[tuple[Format, Path, bytes | None]] = []
        for form in self._formats:
            for path in files_of(paths, stems, form.suffixes):
                raw = self._folder.read(path) if form.is_own is not None else None
                if raw is None or form.is_own is None or form.is_own(raw):
                    found.append((form, path, raw))
                else:
                    notes.append(f"{self._folder.shown(path)} was ignored: it is the XML of another program")
        return found

    def _load(self, form: Format, path: Path, raw: bytes | None, info: SlideInfo) -> Regions:
        settings, shown = self._settings, self._folder.shown(path)
        rules = Rules(form.bounds, settings.nested, settings.simplify_px, settings.min_area_px)
        try:
            parsed = form.parse(Path(shown), self._folder.read(path) if raw is None else raw, info)
            return tidy(parsed, info, rules, source=shown)
        except Mistake as error:
            raise RoiError(f"{shown}: {error}") from error
