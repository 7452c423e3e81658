"""`manifest.json`: the number of tiles in each TFRecord file, as in existing datasets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from slideloom import make_room, parse_json, storing_in, write_whole

from slideloom_tfrecord.index import DamagedRecord, index_of


def write_manifest(
    folder: Path, *, slides: Set[str] = frozenset(), sizes: Mapping[Path, tuple[int, int]] | None = None
) -> Path:
    """Count the records of every TFRecord file in and under `folder`, and write `manifest.json` there.

    The file maps each relative path (with `/`) to `{"total": n}`. It is replaced atomically, so a reader sees either
    the old or the new one. No TFRecord file is changed or removed. Other content of an earlier manifest is kept: more
    keys of an entry, and the entries of files that are damaged or missing, unless they belong to `slides`.

    Args:
        folder: the folder of TFRecord files.
        slides: names of slides that were just processed; their entries are removed if the file is missing.
        sizes: bytes and number of tiles of files, by the reports of their slides. A file of that size is not opened.

    Returns:
        The path of the manifest.

    Raises:
        DamagedRecord: some files are damaged; the manifest is written all the same, without counting them.
        OutputError: the manifest cannot be written.
    """
    manifest = folder / "manifest.json"
    with storing_in(folder):
        make_room(manifest, lambda content: _entries(content) is not None)
        earlier = _entries(manifest.read_bytes()) if manifest.exists() else None
    totals = {
        name: entry
        for name, entry in (earlier or {}).items()
        if slides.isdisjoint(_names_of(name.removesuffix(".tfrecords")))
    }
    problems: list[DamagedRecord] = []
    for path in sorted(folder.rglob("*.tfrecords")):
        name = path.relative_to(folder).as_posix()
        known = (earlier or {}).get(name)
        try:
            totals[name] = {
                **(known if isinstance(known, dict) else {}),
                "total": _count(path, (sizes or {}).get(path)),
            }
        except DamagedRecord as problem:
            problems.append(problem)
    ordered = {name: totals[name] for name in sorted(totals)}
    with storing_in(folder):
        write_whole(manifest, (json.dumps(ordered, indent=2) + "\n").encode())
    if problems:
        raise DamagedRecord("; ".join(str(problem) for problem in problems))
    return manifest


def _names_of(path: str) -> Iterator[str]:
    """The names of slides that a relative path may stand for: with all of its folders, with some, with none."""
    parts = path.split("/")
    return ("/".join(parts[start:]) for start in range(len(parts)))


def _count(path: Path, told: tuple[int, int] | None) -> int:
    """Number of records; a report that counts none, as one of an older version, is not believed."""
    size, tiles = told or (0, 0)
    return tiles if tiles and size == path.stat().st_size else len(index_of(path))


def _entries(content: bytes) -> dict[str, Any] | None:
    """The entries of a manifest; None if the content is not a manifest."""
    try:
        table = parse_json(content)
    except ValueError:
        return None
    return table if isinstance(table, dict) else None
