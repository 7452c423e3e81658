"""Memory of pixels is used again only where no step may hold it, whatever the interpreter counts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest
from slideloom import Normalized, Normalizer, Pipeline, Settings, Sink, TileBatch, TileFilter, Verdict, Writer
from slideloom.base.geometry import Rgb, RgbBatch
from slideloom.extraction.batch_memory import BatchMemory, closed_up
from slideloom.pipeline.pipeline import RunOptions
from slideloom.pipeline.tiling import Tiling
from slideloom.running.run import run_pipeline

WriteSlide = Callable[..., Path]
Extract = Callable[..., list[bytes]]
Steps = Sequence[type]

seen: list[int] = []  # addresses of the pixels that the steps below saw
kept: list[tuple[RgbBatch, bytes]] = []  # pixels that they keep, and what these were
stored: list[bytes] = []  # by the sinks below


@pytest.fixture(autouse=True)
def _counts_as_python_3_14(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.14 counts one reference less of a local name; the question asked through a function is one more."""
    count = sys.getrefcount
    monkeypatch.setattr(sys, "getrefcount", lambda asked: count(asked) - 2)
    for notes in (seen, kept, stored):
        notes.clear()


@attrs.frozen
class Step(Settings[Any]):
    """One of the steps of this file."""

    name: ClassVar[str] = "step"


def settings_of(step: type) -> Settings[Any]:
    """Settings whose `build` makes the step."""
    body = {"step": f"{__name__}:{step.__name__}"}
    made: Settings[Any] = attrs.make_class(step.__name__, {}, bases=(Step,), frozen=True, class_body=body)()
    return made


class Made:
    """Made without options."""

    def __init__(self, settings: Settings[Any]) -> None: ...


class Looks(Made, TileFilter):
    """Drops every third tile, and notes which memory it saw."""

    keeps_pixels = False

    def check(self, batch: TileBatch) -> Verdict:
        seen.append(batch.rgb.__array_interface__["data"][0])
        return Verdict(keep=batch.tiles.index % 3 > 0, score=np.zeros(len(batch), np.float32))


class Keeps(Made, TileFilter):
    """Keeps what it sees, as it may."""

    def check(self, batch: TileBatch) -> Verdict:
        kept.append((batch.rgb, batch.rgb.tobytes()))
        return Verdict(keep=batch.tiles.index % 3 > 0, score=np.zeros(len(batch), np.float32))


class Same(Made, Normalizer):
    """Gives back what it was given, and keeps it."""

    def apply(self, batch: TileBatch) -> Normalized:
        kept.append((batch.rgb, batch.rgb.tobytes()))
        return Normalized(rgb=batch.rgb, ok=np.ones(len(batch), np.bool_))


class Passes(Same):
    """Gives back what it was given."""

    keeps_pixels = False

    def apply(self, batch: TileBatch) -> Normalized:
        return Normalized(rgb=batch.rgb, ok=batch.tiles.index % 4 > 0)


class Turns(Passes):
    """Gives back what it was given with rows as columns: the same memory, looked at otherwise."""

    def apply(self, batch: TileBatch) -> Normalized:
        return Normalized(rgb=batch.rgb.transpose(0, 2, 1, 3), ok=batch.tiles.index % 4 > 0)


class Bytes(Made, Sink):
    """Stores copies."""

    keeps_pixels = False

    def open(self, info: Any, scene: Any, folder: Path) -> Writer:
        return Collected()

    def encode(self, batch: TileBatch) -> Sequence[Any]:
        return [rgb.tobytes() for rgb in batch.rgb]


class Views(Bytes):
    """Stores the pixels themselves, as the HDF5 sink does."""

    keeps_pixels = True

    def encode(self, batch: TileBatch) -> Sequence[Any]:
        return list(batch.rgb)


class Buffers(Views):
    """Stores pixels without the array around them."""

    def encode(self, batch: TileBatch) -> Sequence[Any]:
        return [memoryview(rgb) for rgb in batch.rgb]


class Collected(Writer):
    """Turns tiles into bytes at the very end."""

    def __init__(self) -> None:
        self.tiles: list[bytes | Rgb | memoryview] = []

    def write(self, tiles: Any, encoded: Sequence[Any]) -> None:
        self.tiles.extend(encoded)

    def commit(self) -> Sequence[Path]:
        stored.extend(tile if isinstance(tile, bytes) else tile.tobytes() for tile in self.tiles)
        return []

    def abort(self) -> None: ...


@pytest.fixture
def extracted(raw: None, analytic: WriteSlide, tmp_path: Path) -> Extract:
    """`extracted(sink, filters, normalizer)` runs these steps over a slide and returns its tiles' bytes."""
    slide = analytic(width=1500, height=900)

    def run(
        sink: type, filters: Steps = (), normalizer: type | None = None, *, threads: int = 2, batch: int = 5
    ) -> list[bytes]:
        pipeline = Pipeline(
            tiles=Tiling(size_px=40, size_um=20.0),
            filters=tuple(map(settings_of, filters)),
            normalizer=settings_of(normalizer) if normalizer else None,
            sinks=(settings_of(sink),),
            run=RunOptions(jobs=1, threads=threads, batch_tiles=batch, redo=True),
        )
        stored.clear()
        (report,) = run_pipeline(pipeline, [slide], tmp_path / "out").slides
        assert report.error == ""
        assert len(stored) == report.written > 100
        return list(stored)

    return run


@pytest.mark.parametrize("filters", [(), (Looks,), (Keeps,)], ids=["no filter", "filter", "filter that keeps"])
@pytest.mark.parametrize("sink", [Views, Buffers])
def test_pixels_that_a_sink_returns_are_stored_as_they_were(extracted: Extract, sink: type, filters: Steps) -> None:
    # With one tile in a batch there is one reference to its pixels, the fewest that anybody can hold.
    assert extracted(sink, filters, batch=1) == extracted(Bytes, filters)


@pytest.mark.parametrize("normalizer", [Same, Passes])
def test_a_normalizer_may_return_its_input(extracted: Extract, normalizer: type) -> None:
    original = extracted(Bytes)

    for sink in (Bytes, Views):
        found = extracted(sink, (), normalizer, batch=1)
        assert found == [tile for number, tile in enumerate(original) if normalizer is Same or number % 4]


@pytest.mark.parametrize("filters", [(Looks,), (Keeps,), (Looks, Keeps), (Keeps, Looks)])
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_tiles_that_a_filter_leaves_are_stored_as_they_were(extracted: Extract, filters: Steps, batch: int) -> None:
    original = extracted(Bytes)

    found = extracted(Bytes, filters, batch=batch)

    assert found == [tile for number, tile in enumerate(original) if number % 3]


def test_a_normalizer_may_turn_its_input_over(extracted: Extract) -> None:
    original = [np.frombuffer(tile, np.uint8).reshape(40, 40, 3) for tile in extracted(Bytes)]
    turned = [rgb.transpose(1, 0, 2).tobytes() for rgb in original]

    found = extracted(Bytes, (Looks,), Turns)

    assert found == [tile for number, tile in enumerate(turned) if number % 3 and number % 4]


@pytest.mark.parametrize(
    ("filters", "normalizer"),
    [((Keeps,), None), ((), Same), ((Looks, Keeps), Same)],
    ids=["filter", "normalizer", "both"],
)
def test_pixels_that_a_step_keeps_stay_what_they_were(
    extracted: Extract, filters: Steps, normalizer: type | None
) -> None:
    extracted(Bytes, filters, normalizer)

    assert len(kept) > 100
    assert all(rgb.tobytes() == before for rgb, before in kept)


def test_memory_that_no_step_keeps_is_used_for_the_next_tiles(extracted: Extract) -> None:
    extracted(Bytes, (Looks,), Passes, threads=1)

    assert len(seen) > 100
    assert len(set(seen)) == 1  # tiles that are left close up where they are


def _numbered(count: int) -> RgbBatch:
    """Tiles of 2 x 2 pixels, each of its own number."""
    numbers: RgbBatch = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return np.repeat(np.repeat(np.repeat(numbers, 2, axis=1), 2, axis=2), 3, axis=3)


def test_any_tiles_of_a_batch_close_up_in_their_order() -> None:
    for mask in range(2**9):
        which = np.array([tile for tile in range(9) if mask >> tile & 1], np.int64)

        found = closed_up(_numbered(9), which)

        assert found.shape == (len(which), 2, 2, 3)
        assert (found == _numbered(9)[which]).all()


def test_the_longest_row_of_tiles_stays_where_it_is() -> None:
    batch = _numbered(12)
    before = batch.copy()

    found = closed_up(batch, np.array([1, 4, 5, 6, 7, 9]))

    changed = np.flatnonzero((batch != before).any(axis=(1, 2, 3)))
    assert changed.tolist() == [3, 8]  # where tiles 1 and 9 go; 4 to 7 are in between
    assert found[:, 0, 0, 0].tolist() == [1, 4, 5, 6, 7, 9]


def test_memory_is_found_by_any_tiles_in_it_that_lie_as_they_did() -> None:
    memory = BatchMemory(6, 4)
    other = memory.take()
    own = memory.take()
    own[...] = 0
    memory.give_back(all_but=1)

    part = memory.lent(own[2:5])
    assert part is not None
    part[...] = 7

    assert (own[2:5] == 7).all()
    assert not own[:2].any()
    assert not own[5:].any()
    a_row_lower = own.reshape(-1)[4 * 3 :][: own[:5].size].reshape(own[:5].shape)
    for elsewhere in (other[:3], own[2:5].copy(), own[:, :, ::-1], own[:, ::-1], own.transpose(0, 2, 1, 3), own[::2]):
        assert memory.lent(elsewhere) is None
    assert memory.lent(a_row_lower) is None
    memory.leave()
    assert memory.lent(own) is None


def test_memory_that_an_error_may_hold_is_never_lent_again() -> None:
    memory = BatchMemory(6, 4)
    held: list[RgbBatch] = []

    def fails() -> None:
        with memory.lending():
            held.append(memory.take())
            raise ValueError("in the midst")

    with pytest.raises(ValueError, match="in the midst"):
        fails()
    with memory.lending():
        pass
    with memory.lending():
        assert not np.shares_memory(memory.take(), held[0])


def test_no_module_asks_how_many_references_there_are() -> None:
    root = Path(__file__).parents[2]
    sources = [path for folder in ("core", "plugins") for path in root.glob(f"{folder}/**/src/**/*.py")]

    assert len(sources) > 50
    assert [path.name for path in sources if "getrefcount" in path.read_text(encoding="utf-8")] == []
