"""Finds the slides of a pipeline: files, folders and patterns in, paths out."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from slideloom.base.errors import ConfigError, PluginError, SlideError
from slideloom.pipeline.pipeline import Pipeline, Slides
from slideloom.plugins.blaming import blaming
from slideloom.plugins.discovery import registry
from slideloom.running.run import log

# Only these are looked for in folders; a file that is named directly is always tried.
_EXTENSIONS = "svs tif tiff ndpi vms vmu scn mrxs svslide bif dcm czi jpg jpeg png"
SLIDE_EXTENSIONS = frozenset(f".{extension}" for extension in _EXTENSIONS.split())


def find_slides(include: Sequence[str], exclude: Sequence[str] = (), *, base: Path | None = None) -> list[Path]:
    """The slides in the given files, folders and patterns, sorted within each entry and without duplicates.

    Raises:
        ConfigError: an entry matches nothing.
    """
    found: dict[Path, None] = {}
    for entry in include:
        path = _resolved(entry, base)
        if path.is_dir() and not _is_slide_folder(path):
            # Hidden files are not slides: macOS makes a `._a.svs` beside each `a.svs` that it copies.
            items = [item for item in path.iterdir() if not item.name.startswith(".")]
            matches = sorted(
                item
                for item in items
                if item.suffix.lower() in SLIDE_EXTENSIONS or (item.is_dir() and _is_slide_folder(item))
            )
        elif glob.has_magic(entry) and not path.exists():
            matches = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207 - `**` and roots
        else:
            matches = [path]
        if not matches:
            raise ConfigError(f"slides: '{entry}' matches no file{' in ' + str(base) if base else ''}")
        found.update(dict.fromkeys(matches))
    return [path for path in found if not any(_matches(path, pattern, base) for pattern in exclude)]


def _resolved(entry: str, base: Path | None) -> Path:
    path = Path(entry).expanduser()
    return path if base is None or path.is_absolute() else base / path


def _matches(path: Path, pattern: str, base: Path | None) -> bool:
    return path.match(pattern) or path.match(str(_resolved(pattern, base)))


def _is_slide_folder(path: Path) -> bool:
    """True for a folder that a reader opens as one slide."""
    for cls in registry().all("reader"):
        if cls.opens_folders:
            settings = cls()
            try:
                with blaming(settings, "reader", path.name):
                    if settings.build().recognises(path):
                        return True
            except PluginError as error:  # another reader may recognise the folder, or the slides in it
                log.warning("%s; other readers are asked", error)
    return False


def require_slides(slides: Sequence[Path]) -> None:
    """Raise `SlideError` if there is nothing to do."""
    if not slides:
        raise SlideError("no slides given; name files, a folder or a pattern")


def slides_of(pipeline: Pipeline, base: Path | None) -> list[Path]:
    """The slides of a pipeline."""
    rules: Slides = pipeline.slides
    return find_slides(rules.include, rules.exclude, base=base)
