"""Takes a sample of a slide's tiles through all steps into a temporary folder, to learn what a run would take."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from attrs import frozen

from slideloom.base.errors import OutputError
from slideloom.base.geometry import IntArray
from slideloom.base.storing import storing_in
from slideloom.extraction.companions import CompanionMaker
from slideloom.extraction.engine import BlockResult, TileEngine, blocks_of
from slideloom.planning.prepared import PreparedSlide
from slideloom.plugins.blaming import blaming
from slideloom.slides.tiles import TileBatch
from slideloom.steps.estimates import Cluster, SlideSample
from slideloom.steps.sink import Writer

# Tiles of a cluster are neighbours, because a tile without neighbours takes longer: it shares no source tiles.
_CLUSTER = 16
_PASSES = 4
_BLOCK = 4096  # file systems give files whole blocks


def sample_of(prepared: PreparedSlide, *, count: int, threads: int) -> SlideSample | None:
    """What a sample of the slide's tiles takes; the slide's own record is left as it is.

    Args:
        prepared: the slide, decided up to its tile steps.
        count: number of tiles.
        threads: as in a run.

    Returns:
        The sample, or None if no tile is left, or the temporary folder cannot hold it, which becomes a warning.

    Raises:
        SlideloomError: a step failed, as it would in a run.
    """
    clusters = _clusters(prepared, count)
    if not clusters:
        return None
    try:
        with storing_in(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory(prefix="slideloom-") as folder:
            return _Sampling(prepared, clusters, threads, Path(folder)).sample()
    except OutputError as error:
        prepared.record.warnings.append(f"no estimate from this slide: {error}")
        return None


def _clusters(prepared: PreparedSlide, count: int) -> list[IntArray]:
    """Numbers of tiles, in groups of neighbours that are spread evenly over the slide, each at a random place."""
    plan, ledger = prepared.plan, prepared.record.ledger
    level = plan.slide.info.levels[plan.scene.geometry.level]
    blocks = blocks_of(ledger.tiles.take(ledger.candidates()), downsample=level.downsample)
    if not blocks:
        return []
    order = np.concatenate([block.index for block in blocks])
    if len(order) <= count:
        return [order[start : start + _CLUSTER] for start in range(0, len(order), _CLUSTER)]
    random_place = random.Random(f"{plan.pipeline.tiles.seed}/{plan.slide.info.name}/sample")
    edges = np.linspace(0, len(order), max(1, count // _CLUSTER) + 1).astype(int).tolist()
    starts = [random_place.randint(first, max(first, last - _CLUSTER)) for first, last in pairwise(edges)]
    return [order[start : start + _CLUSTER] for start in starts]


@frozen
class _Taken:
    """Tiles that steps kept, their bytes when stored, and tiles and seconds of each part of the sample."""

    kept: int
    bytes: int
    passes: list[tuple[int, float]]


class _Sampling:
    """One slide's sample on its way through the steps."""

    def __init__(self, prepared: PreparedSlide, clusters: Sequence[IntArray], threads: int, folder: Path) -> None:
        self._prepared, self._clusters, self._folder = prepared, clusters, folder
        began, before = time.perf_counter(), dict(prepared.record.seconds)
        steps = prepared.tile_steps()
        self._building = time.perf_counter() - began
        prepared.record.seconds.clear()
        prepared.record.seconds.update(before)
        self._timed = [_Timed(stage.step) for stage in steps.sinks]
        sinks = tuple(attrs.evolve(stage, step=timed) for stage, timed in zip(steps.sinks, self._timed, strict=True))
        self._steps = attrs.evolve(steps, sinks=sinks)
        run = prepared.plan.pipeline.run
        self._threads = threads
        self._engine = TileEngine(
            prepared.plan,
            self._steps,
            threads=threads,
            batch_tiles=run.batch_tiles,
            companions=CompanionMaker.of(prepared.plan, prepared.record),
        )
        self._start_again()
        self._cluster_of = {index: number for number, cluster in enumerate(clusters) for index in cluster.tolist()}

    def sample(self) -> SlideSample:
        """The sample."""
        parts = self._parts()
        # What is loaded once is not to be paid by the first part, and two sizes tell what a file takes without tiles.
        few = self._taken(parts[:1], "few")
        self._start_again()
        all_of_it = self._taken(parts, "all")
        each = (all_of_it.bytes - few.bytes) / max(1, all_of_it.kept - few.kept)
        besides = max(0.0, all_of_it.bytes - each * all_of_it.kept) if len(parts) > 1 else 0.0
        encoding = sum(timed.seconds for timed in self._timed) / self._threads
        return SlideSample(
            left=len(self._prepared.record.ledger.candidates()),
            clusters=tuple(
                Cluster(len(cluster), int(count), round(share * (all_of_it.bytes - besides)))
                for cluster, count, share in zip(self._clusters, self._kept, self._shares(), strict=True)
            ),
            passes=tuple(all_of_it.passes),
            storing=(encoding + self._writing) / max(1, all_of_it.kept),
            building=self._building,
            besides=round(besides),
        )

    def _parts(self) -> list[IntArray]:
        """The clusters in parts that are each spread over the slide."""
        parts = min(_PASSES, max(1, len(self._clusters) // self._threads))
        return [np.concatenate(self._clusters[first::parts]) for first in range(parts)]

    def _start_again(self) -> None:
        self._writing = 0.0
        self._kept = np.zeros(len(self._clusters), np.int64)
        self._weight = np.zeros(len(self._clusters))  # bytes of encoded tiles, as far as they are bytes
        for timed in self._timed:
            timed.seconds = 0.0

    def _taken(self, parts: Sequence[IntArray], name: str) -> _Taken:
        """The parts through all steps, into a folder of this name."""
        folder, plan = self._folder / name, self._prepared.plan
        folder.mkdir()
        writers: list[Writer] = []
        try:
            for stage in self._steps.sinks:
                with blaming(stage.settings, "sink", plan.slide.info.name):
                    writers.append(stage.step.open(plan.slide.info, plan.scene, folder))
            passes = [self._pass(part, writers) for part in parts]
            return _Taken(int(self._kept.sum()), self._stored(writers, folder), passes)
        finally:
            for writer in writers:
                writer.abort()

    def _pass(self, part: IntArray, writers: Sequence[Writer]) -> tuple[int, float]:
        began = time.perf_counter()
        for result in self._engine.run(self._prepared.record.ledger.tiles.take(part)):
            self._write(result, writers)
        return len(part), time.perf_counter() - began

    def _write(self, result: BlockResult, writers: Sequence[Writer]) -> None:
        began = time.perf_counter()
        for tiles, encoded in zip(result.kept, result.encoded, strict=True):
            for stage, writer, stored in zip(self._steps.sinks, writers, encoded, strict=True):
                with blaming(stage.settings, "sink", self._prepared.plan.slide.info.name):
                    writer.write(tiles, stored)
            for position, index in enumerate(tiles.index.tolist()):
                number = self._cluster_of[index]
                self._kept[number] += 1
                self._weight[number] += sum(_bytes_in(stored[position]) for stored in encoded)
        self._writing += time.perf_counter() - began

    def _stored(self, writers: list[Writer], folder: Path) -> int:
        """Bytes of what the writers made of the sample; those that are committed are taken off the list."""
        for stage, writer in zip(self._steps.sinks, list(writers), strict=True):
            with blaming(stage.settings, "sink", self._prepared.plan.slide.info.name):
                if writer.has_phases:
                    writer.prepare()
                else:
                    writer.commit()
                    writers.remove(writer)
        # On average, half of a file's last block is empty.
        return sum(path.stat().st_size + _BLOCK // 2 for path in folder.rglob("*") if path.is_file())

    def _shares(self) -> list[float]:
        """The share of all bytes that belongs to each cluster."""
        is_known = bool(self._weight[self._kept > 0].all())
        weight = self._weight if is_known else self._kept
        shares: list[float] = (weight / max(1.0, float(weight.sum()))).tolist()
        return shares


def in_blocks(size: int) -> int:
    """What a file of this size takes on a disk."""
    return -(-size // _BLOCK) * _BLOCK


def _bytes_in(encoded: Any) -> int:
    """Bytes in the parts of an encoded tile; 0 for what is in a form of its own."""
    if isinstance(encoded, bytes | bytearray | memoryview):
        return len(encoded)
    if isinstance(encoded, np.ndarray):
        return encoded.nbytes
    if isinstance(encoded, Mapping):
        return sum(map(_bytes_in, encoded.values()))
    return sum(map(_bytes_in, encoded)) if isinstance(encoded, tuple | list) else 0


class _Timed:
    """A sink, as the engine and writers use it, of which the time in `encode` is measured over all threads."""

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self.keeps_pixels, self.open = sink.keeps_pixels, sink.open
        self.seconds = 0.0
        self._lock = threading.Lock()

    def encode(self, batch: TileBatch) -> Sequence[Any]:
        """See `Sink.encode`."""
        began = time.perf_counter()
        encoded: Sequence[Any] = self._sink.encode(batch)
        with self._lock:
            self.seconds += time.perf_counter() - began
        return encoded
