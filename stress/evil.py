# ruff: noqa: T201 - what it prints is a misdeed
"""A plugin that misbehaves: STRESS_MISDEED says "PLACE/DEED"; only on slide a, where it knows the slide."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
from attrs import frozen
from slideloom import (
    Box,
    Normalized,
    Normalizer,
    Placement,
    QcResult,
    Region,
    Regions,
    RoiSource,
    Scene,
    Settings,
    Sink,
    Size,
    Slide,
    SlideInfo,
    SlideQc,
    TileBatch,
    TileFilter,
    Tiles,
    Verdict,
    Writer,
    hookimpl,
)

PLACE, _, DEED = os.environ.get("STRESS_MISDEED", "none/none").partition("/")


class Odd(Exception):
    """Cannot be made again from its text, nor be sent to another process."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("odd")
        self.lock = threading.Lock()


class Bare(BaseException):
    """Not an `Exception`."""


def _recurse() -> NoReturn:
    _recurse()


def _raise_again() -> NoReturn:
    raise  # noqa: PLE0704 - nothing to raise again: the misdeed


def _raise(error: BaseException) -> NoReturn:
    raise error


def _print() -> None:
    print("the plugin says hello")


# What may be done anywhere. Those below `AND_GO_ON` do no harm to what follows.
DEEDS: dict[str, Callable[[], Any]] = {
    "raises": lambda: _raise(ValueError("boom <b>&")),
    "raises odd": lambda: _raise(Odd(1, 2)),
    "raises bare": lambda: _raise(Bare("bare")),
    "exits": lambda: sys.exit(0),
    "raises again": _raise_again,
    "generator exit": lambda: _raise(GeneratorExit()),
    "stop iteration": lambda: _raise(StopIteration("s")),
    "no memory": lambda: _raise(MemoryError()),
    "recursion": _recurse,
    "odd text": lambda: _raise(ValueError("\udcff\ud800 bad")),
    "long text": lambda: _raise(ValueError("x" * 5_000_000)),
    "nothing": lambda: None,
    "leaves now": lambda: os._exit(3),
    "crashes": lambda: ctypes.string_at(0),
    "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "prints": _print,
    "writes to 1": lambda: os.write(1, b"the plugin writes\n"),
    "moves": lambda: os.chdir("/"),
}
AND_GO_ON = {"prints", "writes to 1", "moves"}
DEADLY = {"leaves now", "crashes", "is killed"}


def act(place: str, good: Callable[[], Any], *, slide: str = "a") -> Any:
    """What `good` gives, unless this is the place of the misdeed."""
    if place != PLACE or slide != "a" or DEED not in DEEDS:
        return good()
    given = DEEDS[DEED]()
    return good() if DEED in AND_GO_ON else given


class EvilFilter(TileFilter):
    """Keeps all."""

    def check(self, batch: TileBatch) -> Verdict:
        count = len(batch)
        keep, score = np.ones(count, bool), np.zeros(count, np.float32)
        odd: dict[str, Callable[[], Verdict]] = {
            "nan score": lambda: Verdict(keep, np.full(count, np.nan, np.float32)),
            "endless score": lambda: Verdict(keep, np.full(count, np.inf, np.float32)),
            "whole numbers": lambda: Verdict(keep.astype(int), score),
            "one short": lambda: Verdict(keep[1:], score[1:]),
            "texts": lambda: Verdict(keep, np.array(["x"] * count, object)),
        }
        if PLACE == "filter" and batch.slide == "a":
            if DEED == "blackens":
                batch.rgb[:] = 0
            if DEED == "forces writing":
                batch.rgb.flags.writeable = True
                batch.rgb[:] = 0
            if DEED == "moves tiles":
                batch.tiles.loc_x[:] = 0
            if DEED in odd:
                return odd[DEED]()
        verdict: Verdict = act("filter", lambda: Verdict(keep, score), slide=batch.slide)
        return verdict


class EvilNormalizer(Normalizer):
    """Leaves tiles as they are."""

    def for_slide(self, slide: Slide, scene: Scene, discard: Any) -> Normalizer:
        chosen: Normalizer = act("for_slide", lambda: self, slide=slide.info.name)
        return chosen

    def apply(self, batch: TileBatch) -> Normalized:
        ok = np.ones(len(batch), bool)
        odd: dict[str, Callable[[], Normalized]] = {
            "the same array": lambda: Normalized(rgb=batch.rgb, ok=ok),
            "floats": lambda: Normalized(rgb=batch.rgb.astype(float), ok=ok),
            "a view": lambda: Normalized(rgb=batch.rgb[:, ::-1][:, ::-1], ok=ok),
            "one short": lambda: Normalized(rgb=batch.rgb[1:].copy(), ok=ok[1:]),
            "masked array": lambda: Normalized(rgb=np.ma.masked_array(batch.rgb.copy()), ok=ok),
        }
        if PLACE == "normalizer" and batch.slide == "a" and DEED in odd:
            return odd[DEED]()
        done: Normalized = act("normalizer", lambda: Normalized(rgb=batch.rgb.copy(), ok=ok), slide=batch.slide)
        return done


class EvilQc(SlideQc):
    """Masks nothing."""

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        mask = np.zeros((4, 4), bool)
        metrics: dict[str, dict[Any, Any]] = {
            "nan metric": {"v": float("nan")},
            "endless metric": {"v": float("inf")},
            "large metric": {"v": 10**400},
            "numpy metric": {"v": np.float32(1), "b": np.bool_(True)},
            "complex metric": {"v": np.complex64(1)},
            "odd keys": {3: 1.0, "a\nb": 2},
        }
        odd: dict[str, Callable[[], QcResult]] = {
            "float mask": lambda: QcResult(mask=mask.astype(float), kind="artifact"),
            "unknown kind": lambda: QcResult(mask=mask, kind="dirt"),  # type: ignore[arg-type]
            "empty extent": lambda: QcResult(mask=~mask, kind="artifact", extent=Box(0, 0, 0, 0)),
            "no extent": lambda: QcResult(mask=~mask, kind="artifact", extent=Box(float("nan"), 0, 5, 5)),
            "negative extent": lambda: QcResult(mask=~mask, kind="artifact", extent=Box(100, 100, -50, -50)),
            "odd note": lambda: QcResult(mask=mask, kind="artifact", notes=("<b>&\udcff",)),
            "one note": lambda: QcResult(mask=mask, kind="artifact", notes="one text"),  # type: ignore[arg-type]
        }
        name = slide.info.name
        if PLACE == "qc" and name == "a":
            if DEED in metrics:
                return QcResult(mask=mask, kind="artifact", metrics=metrics[DEED])
            if DEED in odd:
                return odd[DEED]()
            if DEED == "closes the slide":
                slide.close()
            if DEED == "forgets the slide":
                slide.info = None  # type: ignore[assignment]
        result: QcResult = act("qc", lambda: QcResult(mask=mask, kind="artifact", metrics={"v": 1.0}), slide=name)
        return result


class EvilRoi(RoiSource):
    """The whole slide."""

    def regions(self, info: SlideInfo) -> Regions | None:
        from shapely import Polygon, box

        width, height = info.levels[0].size.width, info.levels[0].size.height
        shapes = {
            "far away": box(-9e9, -9e9, -8e9, -8e9),
            "nan corner": Polygon([(0, 0), (float("nan"), 5), (9, 9)]),
            "empty": Polygon(),
            "no area": Polygon([(0, 0), (5, 5), (0, 0)]),
        }
        odd = PLACE == "roi" and info.name == "a" and DEED in shapes
        shape = shapes[DEED] if odd else box(0, 0, width, height)
        found: Regions | None = act("roi", lambda: Regions((Region("r", shape),)), slide=info.name)
        return found


class EvilWriter(Writer):
    """A text file."""

    def __init__(self, path: Path, slide: str) -> None:
        self._path, self._slide = path, slide
        self._file = path.with_name(f".{path.name}.partial").open("w")

    def write(self, tiles: Tiles, encoded: Sequence[Any]) -> None:
        act("write", lambda: self._file.write(f"{len(tiles)}\n"), slide=self._slide)

    def commit(self) -> list[Path]:
        odd = {
            "outside": [Path("/elsewhere")],
            "not there": [self._path.with_name("nothing")],
            "texts": [str(self._path)],
        }
        if PLACE == "commit" and self._slide == "a" and DEED in odd:
            self._finish()
            return odd[DEED]  # type: ignore[return-value]
        made: list[Path] = act("commit", self._finish, slide=self._slide)
        return made

    def _finish(self) -> list[Path]:
        self._file.close()
        Path(self._file.name).replace(self._path)
        return [self._path]

    def abort(self) -> None:
        self._file.close()
        Path(self._file.name).unlink(missing_ok=True)
        act("abort", lambda: None, slide=self._slide)


class EvilSink(Sink):
    """Counts of tiles."""

    def open(self, info: SlideInfo, scene: Scene, folder: Path) -> Writer:
        writer: Writer = act("open", lambda: EvilWriter(folder / f"{info.name}.evil", info.name), slide=info.name)
        return writer

    def encode(self, batch: TileBatch) -> Sequence[Any]:
        odd: dict[str, Callable[[], Any]] = {
            "one short": lambda: [1] * (len(batch) - 1),
            "generator": lambda: (1 for _ in range(len(batch))),
            "array": lambda: batch.rgb,
        }
        if PLACE == "encode" and batch.slide == "a" and DEED in odd:
            given: Sequence[Any] = odd[DEED]()
            return given
        encoded: Sequence[Any] = act("encode", lambda: [0] * len(batch), slide=batch.slide)
        return encoded


class EvilPlacement(Placement):
    """Two rows of tiles."""

    def place(self, slide: Slide, scene: Scene) -> Tiles:
        x, index = np.arange(6) * 40 + 100, np.arange(6)

        def tiles(**changes: Any) -> Tiles:
            columns = {"index": index, "x": x, "y": x, "grid_x": index, "grid_y": index, "roi": index * 0 - 1}
            return Tiles(**{**columns, "footprint": scene.geometry.footprint, **changes})

        odd: dict[str, Callable[[], Tiles]] = {
            "far away": lambda: tiles(x=x * 10**12),
            "halves": lambda: tiles(x=x + 0.5),
            "unknown region": lambda: tiles(roi=index * 0 + 9),
            "negative region": lambda: tiles(roi=index * 0 - 7),
            "one place": lambda: tiles(x=x * 0 + 100, y=x * 0 + 100),
            "no size": lambda: tiles(footprint=Size(0, 0)),
            "objects": lambda: tiles(x=np.array([None, *x[1:]], object)),
            "bounds of integers": lambda: tiles(x=np.array([-(2**63), 2**63 - 1, 0, 0, 0, 0])),
        }
        if PLACE == "placement" and slide.info.name == "a" and DEED in odd:
            return odd[DEED]()
        placed: Tiles = act("placement", tiles, slide=slide.info.name)
        return placed


def _settings(kind: type[Any], step: type[Any]) -> type[Settings[Any]]:
    @frozen
    class Evil(Settings[kind]):  # type: ignore[valid-type]
        """Misbehaves."""

        name: ClassVar[str] = "evil"

        def build(self) -> Any:
            return act("build", step)

    Evil.__qualname__ = f"Evil{kind.__name__}"
    globals()[Evil.__qualname__] = Evil  # so that it can be sent to workers
    return Evil


_FILTER, _NORMALIZER, _QC, _ROI, _SINK, _PLACEMENT = (
    _settings(*pair)
    for pair in (
        (TileFilter, EvilFilter),
        (Normalizer, EvilNormalizer),
        (SlideQc, EvilQc),
        (RoiSource, EvilRoi),
        (Sink, EvilSink),
        (Placement, EvilPlacement),
    )
)
# What is done wrong in one place only.
OWN: dict[str, Sequence[str]] = {
    "filter": (
        "nan score", "endless score", "whole numbers", "one short", "texts", "blackens", "forces writing", "moves tiles"
    ),
    "normalizer": ("the same array", "floats", "a view", "one short", "masked array"),
    "qc": (
        "nan metric", "endless metric", "large metric", "numpy metric", "complex metric", "odd keys", "float mask",
        "unknown kind", "empty extent", "no extent", "negative extent", "odd note", "one note", "closes the slide",
        "forgets the slide",
    ),
    "roi": ("far away", "nan corner", "empty", "no area"),
    "commit": ("outside", "not there", "texts"),
    "encode": ("one short", "generator", "array"),
    "placement": (
        "far away", "halves", "unknown region", "negative region", "one place", "no size", "objects",
        "bounds of integers",
    ),
}  # fmt: skip

act("import", lambda: None)


@hookimpl
def slideloom_tile_filters() -> Any:
    """One."""
    return act("listing", lambda: [_FILTER])


@hookimpl
def slideloom_normalizers() -> Any:
    """One."""
    return [_NORMALIZER]


@hookimpl
def slideloom_slide_qc() -> Any:
    """One."""
    return [_QC]


@hookimpl
def slideloom_roi_sources() -> Any:
    """One."""
    return [_ROI]


@hookimpl
def slideloom_sinks() -> Any:
    """One."""
    return [_SINK]


@hookimpl
def slideloom_placements() -> Any:
    """One."""
    return [_PLACEMENT]


@hookimpl
def slideloom_run_started(slides: Any, out: Any) -> None:
    """Observe."""
    act("run_started", lambda: None)


@hookimpl
def slideloom_slide_done(report: Any) -> None:
    """Observe."""
    act("slide_done", lambda: None)


@hookimpl
def slideloom_run_done(report: Any, out: Any) -> None:
    """Observe."""
    act("run_done", lambda: None)
