"""Sources of a project: where slides, regions, tile images and TFRecords are. Kept in `project.toml`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from slideloom.base.addresses import is_address
from slideloom.base.errors import ConfigError
from slideloom.base.parsing import parse_toml
from slideloom.base.storing import storing_in, utf8, write_whole
from slideloom.settings.options import option
from slideloom.settings.tables import from_table

VERSION = 1
PROJECT_FILE = "project.toml"


@frozen
class Source:
    """One set of slides with its regions and outputs. Relative paths start from the project's folder."""

    name: str = option(help="name of the source")
    slides: tuple[str, ...] = option((), help='files, folders or patterns such as "slides/*.svs"')
    roi: Path | None = option(None, help="folder of ROI files")
    tiles: Path = option(Path("tiles"), help="folder of tile images")
    tfrecords: Path = option(Path("tfrecords"), help="folder of TFRecords")
    recursive: bool = option(False, help="also the slides in subfolders; their names then tell their folders")

    @property
    def out(self) -> Path:
        """The output folder of runs, which holds the folders of TFRecords and tiles."""
        return self.tfrecords.parent


@frozen
class ProjectFile:
    """The content of `project.toml`.

    Attributes:
        name: name of the project.
        annotations: the CSV of annotations, or None.
        sources: sources by name, in the file's order.
    """

    name: str
    annotations: Path | None
    sources: Mapping[str, Source]


def read_project_file(root: Path) -> ProjectFile:
    """The project file of a folder, with its relative paths resolved.

    Raises:
        ConfigError: there is none, or it has mistakes; the message lists all of them.
    """
    path = root / PROJECT_FILE
    try:
        table = parse_toml(path.read_bytes().decode())
    except FileNotFoundError as error:
        raise ConfigError(
            f"{root}: is not a project, it has no {PROJECT_FILE}; make one with Project.create or "
            "`slideloom project create`"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    mistakes = [
        f"{path}: unknown key '{key}' (known: slideloom, name, annotations, sources)"
        for key in table
        if key not in ("slideloom", "name", "annotations", "sources")
    ]
    if table.get("slideloom") != VERSION:
        mistakes.append(f"{path}: must say 'slideloom = {VERSION}' at the top, the version of the file's layout")
    sources: dict[str, Source] = {}
    entries = table.get("sources", {})
    if not isinstance(entries, dict):
        mistakes.append(f"{path}: 'sources' is a table: write [sources.main]")
        entries = {}
    for name, entry in entries.items():
        options = {**entry, "name": name} if isinstance(entry, dict) else {"name": name, str(entry): None}
        found, wrong = from_table(Source, options, where=f"{path}: [sources.{name}]")
        mistakes.extend(wrong)
        if found is not None:
            sources[name] = with_base(found, root)
    annotations = table.get("annotations")
    if annotations is not None and not isinstance(annotations, str):
        mistakes.append(f"{path}: annotations: must be a path, not {annotations!r}")
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return ProjectFile(
        name=str(table.get("name", root.resolve().name)),
        annotations=root / annotations if annotations else None,
        sources=sources,
    )


def with_base(source: Source, root: Path) -> Source:
    """The source with its relative paths, also those of slides, resolved against `root`."""

    def whole(path: Path) -> Path:
        return root / path.expanduser()

    return evolve(
        source,
        slides=tuple(entry if is_address(entry) else str(whole(Path(entry))) for entry in source.slides),
        roi=None if source.roi is None else whole(source.roi),
        tiles=whole(source.tiles),
        tfrecords=whole(source.tfrecords),
    )


def write_project_file(root: Path, project: ProjectFile) -> None:
    """Write `project.toml`; paths inside the project's folder are stored relative to it.

    Raises:
        OutputError: it cannot be written.
    """

    def short(path: Path | str) -> str:
        if is_address(path):
            return str(path)
        whole = Path(path).absolute()
        return whole.relative_to(root.absolute()).as_posix() if whole.is_relative_to(root.absolute()) else str(whole)

    lines = [f"slideloom = {VERSION}", f"name = {_text(project.name)}"]
    if project.annotations is not None:
        lines.append(f"annotations = {_text(short(project.annotations))}")
    for name, source in project.sources.items():
        key = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)
        lines += ["", f"[sources.{key}]", f"slides = {_text([short(entry) for entry in source.slides])}"]
        if source.recursive:
            lines.append("recursive = true")
        if source.roi is not None:
            lines.append(f"roi = {_text(short(source.roi))}")
        lines += [f"tiles = {_text(short(source.tiles))}", f"tfrecords = {_text(short(source.tfrecords))}"]
    with storing_in(root):
        write_whole(root / PROJECT_FILE, ("\n".join(lines) + "\n").encode())


def _text(value: Any) -> str:
    """A text or list of texts as TOML, which uses the same escapes as JSON.

    Raises:
        ConfigError: it is a file name that is not UTF-8, which TOML cannot hold.
    """
    for text in [value] if isinstance(value, str) else value:
        if text != utf8(text).decode():
            raise ConfigError(
                f"{utf8(text).decode()}: a project file cannot hold this name, it is not UTF-8; rename it"
            )
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
