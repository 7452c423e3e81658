"""Finds the file of a slide in a folder, reads it, and says in which file and where a mistake is."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from pathlib import Path

from slideloom import Regions, RoiError, RoiSource, SlideInfo

from slideloom_roi.drafts import Mistake, Parsed
from slideloom_roi.settings import GeoJson, Ndpa, QuPathCsv
from slideloom_roi.tidying import Rules, tidy

Parser = Callable[[str, SlideInfo], Parsed]
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class FolderOfRegions(RoiSource):
    """A folder with one file of regions per slide."""

    def __init__(self, settings: QuPathCsv | GeoJson | Ndpa, suffixes: Sequence[str], parse: Parser) -> None:
        self._folder = settings.folder
        self._suffixes = suffixes
        self._parse = parse
        self._rules = Rules(settings.bounds, settings.nested, settings.simplify_px, settings.min_area_px)

    def regions(self, info: SlideInfo) -> Regions | None:
        """The regions in the slide's file, or None if there is no file."""
        path = self.find(info)
        return None if path is None else self.load(path, info)

    def find(self, info: SlideInfo) -> Path | None:
        """The file of a slide: `<slide>.csv`, or `<file name of the slide>.csv` as QuPath has it.

        Raises:
            RoiError: there are both.
        """
        stems = dict.fromkeys((info.name, info.path.name))
        if any(Path(stem).name != stem for stem in stems):
            raise RoiError(f"{info.name!r} is no file name; rename the slide")
        names = [stem + suffix for stem in stems for suffix in self._suffixes]
        found = [path for path in (self._folder / name for name in names) if path.is_file()]
        if len(found) > 1:
            listed = ", ".join(path.name for path in found)
            raise RoiError(f"{self._folder}: several files for slide {info.name}: {listed}; keep one of them")
        return found[0] if found else None

    def load(self, path: Path, info: SlideInfo) -> Regions:
        """The regions in one file.

        Raises:
            RoiError: it cannot be read or understood.
        """
        try:
            text, notes = decoded(path.read_bytes())
            parsed = self._parse(text, info)
            regions = tidy(parsed, info, self._rules, source=str(path))
        except OSError as error:
            raise RoiError(f"{path}: cannot be read ({error.strerror or error}); check the file") from error
        except Mistake as error:
            raise RoiError(f"{path}: {error}") from error
        return Regions(items=regions.items, notes=(*notes, *regions.notes), source=regions.source)


def decoded(raw: bytes) -> tuple[str, tuple[str, ...]]:
    """A file's text, and a sentence if its encoding had to be guessed.

    Raises:
        Mistake: it is empty, or not text.
    """
    if not raw.strip(b"\0 \r\n\t"):
        raise Mistake("the file is empty; export the regions again")
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), None)
    if encoding is None and raw.count(0) > len(raw) / 4:
        # Latin text in UTF-16 has a zero as every other byte.
        encoding = "utf-16-le" if raw[1::2].count(0) > raw[::2].count(0) else "utf-16-be"
    try:
        return raw.decode(encoding or "utf-8"), ()
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise Mistake(f"the file is damaged: not {encoding} at byte {error.start}; save it as UTF-8") from None
    try:
        return raw.decode("cp1252"), ("not UTF-8: read as Windows-1252; check names with special letters",)
    except UnicodeDecodeError:
        return raw.decode("latin-1"), ("not UTF-8: read as Latin-1; check names with special letters",)


class FolderOfAnyFormat(RoiSource):
    """Regions from whichever file a folder holds for a slide."""

    def __init__(self, sources: Sequence[FolderOfRegions]) -> None:
        self._sources = sources

    def regions(self, info: SlideInfo) -> Regions | None:
        """See `RoiSource.regions`.

        Raises:
            RoiError: there are files of two formats for the slide, or its file cannot be understood.
        """
        found = [(source, path) for source in self._sources if (path := source.find(info)) is not None]
        if len(found) > 1:
            names = " and ".join(path.name for _, path in found)
            raise RoiError(f"{info.name}: has regions in {names}; keep one, or name the format (such as qupath-csv)")
        return found[0][0].load(found[0][1], info) if found else None
