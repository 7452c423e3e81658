"""The places of a run's own files in the output folder, and the lock that keeps two runs apart.

OUT/slideloom/LABEL/pipeline.json      the pipeline as it ran
OUT/slideloom/LABEL/mask_classes.json  the classes of tiles' masks, if there are any
OUT/slideloom/LABEL/slides/NAME.json   the report of a finished or failed slide, written last
OUT/slideloom/LABEL/publishing/NAME.json  sizes of a slide's outputs, while they get their names
OUT/slideloom/LABEL/published/NAME.json  of an output at an address: what of the slide was put there
OUT/slideloom/LABEL/opened/NAME.json   of a slide at an address or in a buffer: what opening it told
OUT/slideloom/LABEL/tiles/NAME.csv     one row per planned tile
OUT/slideloom/LABEL/masks/NAME-STEP.*  QC masks, if requested
OUT/slideloom/LABEL/masks/NAME.discard.npz  all QC masks together, small, if a report is requested
OUT/slideloom/LABEL/masks/NAME.told.geojson  what QC tells but keeps, small, if a report is requested
OUT/slideloom/LABEL/overviews/NAME.png kept and rejected tiles over the thumbnail, if requested
OUT/dry-run/LABEL/NAME.png             the same picture of a dry run, which makes nothing else
OUT/slideloom/LABEL/shards.json        which slide belongs to which of the runs that share the folder
OUT/slideloom/shards/LABEL.K-of-N      held while one of these runs works
OUT/slideloom/LABEL/claims/NAME.1.claim  which of several runs makes the slide; only while runs work here
OUT/slideloom/at_work/                 the signs of life of these runs
OUT/slideloom/lock                     held while a run begins or ends, or works alone; lock.holder says who holds it

NAME may have folders, as in lab1/case7/slide.json.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from slideloom.base.addresses import check_local
from slideloom.base.errors import OutputError
from slideloom.base.locks import holder_of, take_lock
from slideloom.base.storing import path_of_name, storing_in


class FolderTaken(OutputError):
    """Another run works in the output folder."""


@frozen
class OutputFolder:
    """The output folder of a run, for one tile size label."""

    root: Path
    label: str

    def __attrs_post_init__(self) -> None:
        check_local(self.root)

    @property
    def state(self) -> Path:
        """Folder of the run's own files."""
        return self.root / "slideloom" / self.label

    @property
    def pipeline(self) -> Path:
        """The pipeline as it ran."""
        return self.state / "pipeline.json"

    @property
    def mask_classes(self) -> Path:
        """The value of each class in the masks of tiles, by its name; there is none without masks."""
        return self.state / "mask_classes.json"

    def report(self, slide: str) -> Path:
        """The slide's report."""
        return path_of_name(self.state / "slides", slide, ending=".json")

    def publishing(self, slide: str) -> Path:
        """The sizes of the slide's outputs; it exists only while they get their final names."""
        return path_of_name(self.state / "publishing", slide, ending=".json")

    def published(self, slide: str) -> Path:
        """The record of the slide's files at the address of the output, if that is one."""
        return path_of_name(self.state / "published", slide, ending=".json")

    def opened(self, slide: str) -> Path:
        """What opening the slide told, by which a later run knows it again without copying it."""
        return path_of_name(self.state / "opened", slide, ending=".json")

    @property
    def claims(self) -> Path:
        """Folder of the claims to slides."""
        return self.state / "claims"

    def claim(self, slide: str, number: int) -> Path:
        """One of the slide's claims, from 1."""
        return path_of_name(self.claims, slide, ending=f".{number}.claim")

    @property
    def at_work(self) -> Path:
        """Folder of the signs of life of runs."""
        return self.root / "slideloom" / "at_work"

    def tile_table(self, slide: str) -> Path:
        """The slide's tile table."""
        return path_of_name(self.state / "tiles", slide, ending=".csv")

    def mask(self, slide: str, step: str) -> Path:
        """A QC mask of the slide."""
        return path_of_name(self.state / "masks", slide, ending=f"-{step}.npy")

    def discard(self, slide: str) -> Path:
        """A small mask of what all slide QC steps together discard, for pictures of the slide."""
        return path_of_name(self.state / "masks", slide, ending=".discard.npz")

    def told(self, slide: str) -> Path:
        """The areas of classes that slide QC tells but keeps, for pictures of the slide."""
        return path_of_name(self.state / "masks", slide, ending=".told.geojson")

    def overview(self, slide: str) -> Path:
        """The picture of kept and rejected tiles."""
        return path_of_name(self.state / "overviews", slide, ending=".png")

    def trial_overview(self, slide: str) -> Path:
        """The picture of tiles that a dry run would keep and reject; apart, as a later run may decide otherwise."""
        return path_of_name(self.root / "dry-run" / self.label, slide, ending=".png")

    def relative(self, path: Path) -> str:
        """`path` relative to the output folder, with forward slashes.

        Folders in it may be links to another disk; links are not followed.

        Raises:
            ValueError: `path` is not in the output folder.
        """
        named, root = (Path(os.path.abspath(each)) for each in (path, self.root))  # noqa: PTH100 - keeps links
        if named.is_relative_to(root):
            return named.relative_to(root).as_posix()
        return path.resolve().relative_to(self.root.resolve()).as_posix()

    @property
    def lock(self) -> Path:
        """The lock of the folder."""
        return self.root / "slideloom" / "lock"

    @contextmanager
    def locked(self, *, by: str = "") -> Iterator[None]:
        """Within it, no other run uses this output folder.

        Args:
            by: what the run is, if it is not simply one; others are told.

        Raises:
            FolderTaken: another run uses it.
            OutputError: the folder cannot be written.
        """
        with self.holding(
            self.lock,
            by=by,
            taken="another run works in this folder ({holder}); wait for it or use another folder",
        ):
            yield

    @contextmanager
    def holding(self, path: Path, *, taken: str, by: str = "") -> Iterator[None]:
        """Within it, this process holds a lock of the folder.

        Args:
            path: the lock.
            taken: what to say if another process holds it; "{holder}" stands for who.
            by: what this process is; others are told.

        Raises:
            FolderTaken: another process holds it.
            OutputError: the folder cannot be written.
        """
        with storing_in(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = take_lock(path, by=by)
        if lock is None:
            raise FolderTaken(f"{self.root}: {taken.format(holder=holder_of(path))}")
        try:
            yield
        finally:
            lock.release()
