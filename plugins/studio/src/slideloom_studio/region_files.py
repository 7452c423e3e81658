"""The regions of slides, read from and written to the files that `--roi DIR` reads."""

from __future__ import annotations

import hashlib
import shutil
import threading
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unicodedata import normalize

import shapely
from attrs import frozen
from slideloom.base.csv_tables import csv_text
from slideloom.base.errors import RoiError, SlideloomError
from slideloom.base.files import FileState
from slideloom.base.geometry import Size
from slideloom.base.storing import path_of_name, storing_in, write_whole
from slideloom.plugins.shorthand import folder_of_regions
from slideloom.slides.info import Level, SlideInfo
from slideloom.slides.regions import Regions

from slideloom_studio.calls import Refused
from slideloom_studio.geojson_file import GeoJsonFile
from slideloom_studio.outlines import checked, regions_in
from slideloom_studio.shelf import Entry

ORIGINALS = "originals"
"""Folder within the folder of regions for files that were replaced; region readers do not look into it."""
CSV_FOLDER = "csv"
_ENDINGS = (".geojson", ".json")
_CSV_COLUMNS = ("ROI_Name", "X_base", "Y_base", "label")
_LARGEST = Size(1 << 30, 1 << 30)


@frozen
class SlideRegions:
    """What is known of a slide's regions.

    Attributes:
        file: what is edited.
        path: of the file that holds them now, or None.
        target: of the file that they are saved to.
        revision: changes with the file.
        notes: sentences of the reader.
        in_place: False where the file is in another format than that which is saved.
    """

    file: GeoJsonFile
    path: Path | None
    target: Path
    revision: str
    notes: tuple[str, ...] = ()
    in_place: bool = True

    @property
    def replaces(self) -> str | None:
        """The name of a file in another format that a save moves out of the way."""
        return None if self.path is None or self.in_place else self.path.name


class RegionFiles:
    """The region files of a session. Thread-safe; a slide's file is written by one at a time.

    Args:
        can_write: False to refuse every save.
    """

    def __init__(self, *, can_write: bool) -> None:
        self.can_write = can_write
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._counts: dict[str, tuple[FileState | None, int]] = {}
        self._labels: set[str] = set()
        self._listed: dict[Path, tuple[FileState | None, list[str]]] = {}

    def load(self, entry: Entry, info: SlideInfo) -> SlideRegions:
        """The regions of a slide.

        Raises:
            RoiError: its file cannot be read, or there are several.
        """
        folder = _folder(entry)
        target = path_of_name(folder, info.name, ending=".geojson")
        found = _found(folder, info)
        self._learn(found)
        if found is None or not found.source:
            notes = found.notes if found is not None else ()
            return SlideRegions(GeoJsonFile.new(info), None, target, "new", notes)
        path = Path(found.source)
        content = path.read_bytes()
        revision = hashlib.sha256(path.name.encode() + b"\0" + content).hexdigest()[:24]
        parsed = GeoJsonFile.parse(content, info) if path.suffix.lower() in _ENDINGS else None
        if parsed is None:
            return SlideRegions(GeoJsonFile.new(info, found), path, target, revision, found.notes, in_place=False)
        return SlideRegions(parsed, path, path, revision, found.notes)

    def save(self, entry: Entry, info: SlideInfo, table: Mapping[str, Any]) -> dict[str, Any]:
        """Write the regions of a page into the slide's file, completely or not at all.

        Raises:
            Refused: the file has changed since the page read it; it is in another format and `replace` is not given;
                or a feature cannot be saved.
            OutputError: the file cannot be written.
        """
        if not self.can_write:
            raise Refused(403, "regions cannot be changed here: the studio was opened with --read-only, or for results")
        given = table.get("geojson")
        features = given.get("features") if isinstance(given, dict) else None
        if not isinstance(features, list):
            raise Refused(422, "the request holds no FeatureCollection; reload the page")
        with self._lock_of(entry.id):
            now = self.load(entry, info)
            if table.get("revision") != now.revision:
                name = (now.path or now.target).name
                said = f"{name} has changed since it was read; load it again, or save yours over it"
                raise Refused(409, said, revision=now.revision)
            if now.replaces is not None and table.get("replace") is not True:
                said = (
                    f"these regions come from {now.replaces}; a folder may hold one file for a slide, so saving them "
                    f"as {now.target.name} moves {now.replaces} to {ORIGINALS}/"
                )
                raise Refused(409, said, revision=now.revision, replaces=now.replaces)
            kept = checked(features, info)
            content = now.file.content(kept.features)
            try:
                notes = regions_in(content, info).notes
            except RoiError as error:
                raise Refused(422, f"these regions could not be read again, so they are not saved: {error}") from error
            moved = _write(now, content)
            again = self.load(entry, info)
        return {
            "revision": again.revision,
            "saved": now.target.name,
            "dropped": kept.dropped,
            "mended": kept.mended,
            "moved": moved,
            "notes": list(notes),
        }

    def save_csv(self, entry: Entry, info: SlideInfo) -> Path:
        """Write the slide's regions as a CSV that QuPath-CSV readers read, into a folder of its own.

        Beside the GeoJSON file it would be a second file for the slide, which readers refuse.

        Raises:
            Refused: nothing may be written, or there are no regions.
        """
        if not self.can_write:
            raise Refused(403, "nothing can be written here: the studio was opened with --read-only, or for results")
        folder = _folder(entry)
        found = _found(folder, info)
        if found is None or not found.items:
            raise Refused(409, f"{info.name} has no saved regions; draw some first")
        path = path_of_name(folder / CSV_FOLDER, info.name, ending=".csv")
        with storing_in(path.parent):
            write_whole(path, _csv(found))
        return path

    def count(self, entry: Entry) -> tuple[int, str | None]:
        """Number of a slide's regions, and what is wrong with its file; the slide is not opened."""
        if entry.roi is None or not entry.roi.is_dir():
            return 0, None
        known = self._counts.get(entry.id)
        if known is not None and known[0] is not None and FileState.of(known[0].path) == known[0]:
            return known[1], None
        if not any(self._may_have(entry.roi, name) for name in entry.slide.names):
            return 0, None
        # Its size is not known: nothing lies outside.
        levels = (Level(_LARGEST, 1.0, 1.0),)
        info = SlideInfo(
            path=entry.path, name=entry.name, shares_name=entry.slide.shares_name, reader="", levels=levels
        )
        try:
            found = _found(entry.roi, info)
        except SlideloomError as error:
            return 0, str(error)
        self._learn(found)
        items = len(found.items) if found is not None else 0
        state = FileState.of(Path(found.source)) if found is not None and found.source else None
        self._counts[entry.id] = (state, items)
        return items, None

    def _may_have(self, root: Path, slide: str) -> bool:
        """False where no file of its folder begins with the slide's name, as for most slides of a large cohort."""
        *folders, own = slide.split("/")
        folder = root.joinpath(*folders)
        if not folder.is_dir():
            return False
        state = FileState.of(folder)
        with self._lock:
            known, names = self._listed.get(folder, (None, []))
        if known != state:
            names = sorted(_plain(path.name) for path in folder.iterdir())
            with self._lock:
                self._listed[folder] = state, names
        wanted = _plain(own)
        place = bisect_left(names, wanted)
        return place < len(names) and names[place].startswith(wanted)

    @property
    def labels(self) -> list[str]:
        """The labels of all regions seen so far, sorted."""
        with self._lock:
            return sorted(self._labels)

    def _learn(self, regions: Regions | None) -> None:
        if regions is not None:
            with self._lock:
                self._labels |= {region.label for region in regions.items if region.label}

    def _lock_of(self, key: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(key, threading.Lock())


def _plain(name: str) -> str:
    """A name as file systems compare it that tell neither capital letters nor forms of accents apart."""
    return normalize("NFC", name).casefold()


def _folder(entry: Entry) -> Path:
    if entry.roi is None:
        raise Refused(409, "the studio has no folder of regions; name one when it is opened")
    return entry.roi


def _found(folder: Path, info: SlideInfo) -> Regions | None:
    if not folder.is_dir():
        return None
    found: Regions | None = folder_of_regions(folder).build().regions(info)
    return found


def _write(now: SlideRegions, content: bytes) -> str | None:
    """Write the file, then move the one that it replaces; where it lies now, or None.

    If the second fails, the first is taken back: with both, no reader would read either.
    """
    target, old = now.target, now.path
    with storing_in(target.parent):
        if now.replaces is None or old is None:
            write_whole(target, content)
            return None
        aside = _free(target.parent / ORIGINALS / old.name)
        aside.parent.mkdir(exist_ok=True)
        if old == target:
            shutil.copy2(old, aside)
            write_whole(target, content)
        else:
            write_whole(target, content)
            try:
                old.rename(aside)
            except OSError:
                target.unlink()
                raise
    return f"{ORIGINALS}/{aside.name}"


def _free(path: Path) -> Path:
    number, free = 2, path
    while free.exists():
        free = path.with_name(f"{path.stem} ({number}){path.suffix}")
        number += 1
    return free


def _csv(regions: Regions) -> bytes:
    """Rings as rows of points; a ring within another of the same label is its hole."""
    rows: list[tuple[object, ...]] = []
    for region in regions.items:
        rings = [ring for part in shapely.get_parts(region.shape) for ring in shapely.get_rings(part)]
        for number, ring in enumerate(rings):
            name = region.name if number == 0 else f"{region.name}_ring{number}"
            points = shapely.get_coordinates(ring)[:-1].tolist()
            rows.extend((name, x, y, region.label or "") for x, y in points)
    return csv_text(_CSV_COLUMNS, rows, quoting="text").encode("utf-8", "replace")
