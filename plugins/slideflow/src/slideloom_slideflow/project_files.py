"""`settings.json` and `datasets.json` of a project, as Slideflow keeps them, and the sources that they name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen
from slideloom import ConfigError
from slideloom.base.addresses import local_path
from slideloom.base.parsing import parse_json
from slideloom_cohort.sources import Source

SETTINGS = "settings.json"
DEFAULTS: Mapping[str, Any] = {
    "name": "MyProject",
    "annotations": "./annotations.csv",
    "dataset_config": "./datasets.json",
    "sources": [],
    "models_dir": "./models",
    "eval_dir": "./eval",
}
_FOLDERS = ("slides", "roi", "tiles", "tfrecords")


@frozen
class PeerSource(Source):
    """A source as `datasets.json` describes it, where TFRecords and tiles need not lie in one folder.

    Attributes:
        apart: runs keep their own files within the folder of TFRecords, as that folder's parent serves others too.
    """

    apart: bool = False

    @property
    def out(self) -> Path:
        """The output folder of runs."""
        return self.tfrecords if self.apart else self.tfrecords.parent


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    try:
        table = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: is not JSON ({error})") from error
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: must hold an object such as {{...}}")
    return table


def whole(path: str | Path, root: Path) -> Path:
    """A path of a project's files: one that is relative starts from the project's folder."""
    return root / local_path(path).expanduser()


def sources_of(config: Mapping[str, Any], names: list[str] | None, *, root: Path, where: str) -> dict[str, PeerSource]:
    """The sources of a dataset configuration.

    Args:
        config: name of a source to its folders, as `datasets.json` holds it.
        names: of the sources wanted; None is all.
        root: the folder that relative paths start from.
        where: the file, for messages.

    Raises:
        ConfigError: there is no such source, or an entry has mistakes.
    """
    for name in names or ():
        if name not in config:
            raise ConfigError(f"{where}: no source '{name}' (known: {', '.join(config) or 'none'})")
    made = {name: _source(name, config[name], root, where) for name in (names or config)}
    outs = [source.out for source in made.values()]
    return {
        name: attrs.evolve(source, apart=source.apart or outs.count(source.out) > 1) for name, source in made.items()
    }


def _source(name: str, entry: Any, root: Path, where: str) -> PeerSource:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where}: source '{name}' must be an object with the folders {', '.join(_FOLDERS)}")
    folders: dict[str, Path | None] = {}
    for kind in _FOLDERS:
        value = entry.get(kind)
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{where}: source '{name}': {kind} must be a path, not {value!r}")
        folders[kind] = whole(value, root) if value else None
    slides, tfrecords = folders["slides"], folders["tfrecords"] or root / "tfrecords" / name
    tiles = folders["tiles"]
    return PeerSource(
        name=name,
        slides=() if slides is None else (str(slides),),
        roi=folders["roi"],
        tiles=tiles or tfrecords.parent / "tiles",
        tfrecords=tfrecords,
        apart=tiles is None or tiles.parent != tfrecords.parent,
    )
