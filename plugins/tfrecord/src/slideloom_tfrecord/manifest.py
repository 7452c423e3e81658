"""How many tiles each TFRecord file holds: `manifest.json`, as existing datasets have it."""

from __future__ import annotations

import json
from pathlib import Path

from slideloom import storing_in, write_whole

from slideloom_tfrecord.index import DamagedRecord, index_of


def write_manifest(folder: Path) -> Path:
    """Count the records of every TFRecord file in and under `folder`, and write `manifest.json` there.

    The file maps each relative path (with `/`) to `{"total": n}`. It is replaced at once, so a reader sees the old
    one or the new one. No TFRecord file is changed or removed.

    Returns:
        The path of the manifest.

    Raises:
        DamagedRecord: files are damaged; they are left out of the manifest, which is written all the same.
        OutputError: the manifest cannot be written.
    """
    totals: dict[str, dict[str, int]] = {}
    problems: list[DamagedRecord] = []
    for path in sorted(folder.rglob("*.tfrecords")):
        try:
            totals[path.relative_to(folder).as_posix()] = {"total": len(index_of(path))}
        except DamagedRecord as problem:
            problems.append(problem)
    manifest = folder / "manifest.json"
    with storing_in(folder):
        write_whole(manifest, (json.dumps(totals, indent=2) + "\n").encode())
    if problems:
        raise DamagedRecord("; ".join(str(problem) for problem in problems))
    return manifest
