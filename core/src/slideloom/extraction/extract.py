"""The tiles of one prepared slide, through the engine and into every sink."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
from attrs import frozen

from slideloom.base.errors import SlideloomError
from slideloom.base.geometry import IntArray
from slideloom.base.storing import storing_in
from slideloom.extraction.engine import BlockResult, TileEngine
from slideloom.extraction.output_folder import OutputFolder
from slideloom.planning.prepared import PreparedSlide, TileSteps
from slideloom.plugins.blaming import blaming
from slideloom.steps.sink import Writer

log = logging.getLogger(__name__)


@frozen
class Extracted:
    """What was made of a slide's tiles.

    Attributes:
        fallback: number of tiles that the normalizer used its fallback for.
        outputs: files and folders that the sinks made.
    """

    fallback: int = 0
    outputs: tuple[Path, ...] = ()


class Extraction:
    """Tiles of one slide into every sink; what became of each is noted in the slide's ledger.

    Args:
        prepared: the slide; its record is written to.
        folder: where sinks store.
        threads: that read, filter, normalize and encode.
        progress: called with tiles done and tiles in all.
    """

    def __init__(
        self,
        prepared: PreparedSlide,
        folder: OutputFolder,
        *,
        threads: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._plan, self._record = prepared.plan, prepared.record
        self._steps: TileSteps = prepared.tile_steps()
        self._folder = folder
        self._threads = threads
        self._progress = progress
        self._writers: list[Writer] = []
        self._fallback = 0
        self._stored = 0
        self._errors: list[str] = []

    def run(self) -> Extracted:
        """Cut and store the tiles that nothing has rejected.

        Raises:
            SlideloomError: a step failed; nothing half-written stays.
        """
        record = self._record
        with storing_in(self._folder.root):
            self._folder.root.mkdir(parents=True, exist_ok=True)
        try:
            self._open_writers()
            with record.timed("tiles"):
                self._extract()
            self._check_account()
            with record.timed("commit"):
                outputs = self._commit()
        except BaseException:
            for writer in self._writers:
                _abort(writer)
            raise
        if self._errors:
            more = f" and {len(self._errors) - 1} more" if len(self._errors) > 1 else ""
            record.warnings.append(f"unreadable tiles: {self._errors[0]}{more}")
        return Extracted(self._fallback, tuple(outputs))

    def _check_account(self) -> None:
        """Every planned tile has an end, and sinks were given those that are counted as written, each once."""
        ledger, stored = self._record.ledger, self._stored
        undecided = len(ledger.candidates())
        if undecided or stored != ledger.written:
            raise SlideloomError(
                f"{self._plan.slide.info.name}: of {len(ledger)} planned tiles {undecided} were lost on the way, and "
                f"sinks got {stored} where {ledger.written} are accounted for; a step changed the numbers of its "
                "tiles: leave out filters and normalizers one by one to find it"
            )

    def _open_writers(self) -> None:
        info = self._plan.slide.info
        for sink in self._steps.sinks:
            with blaming(sink.settings, "sink", info.name):
                writer = sink.step.open(info, self._plan.scene, self._folder.root)
                if not isinstance(writer, Writer):
                    raise TypeError(f"wanted a Writer, got {type(writer).__name__}")
                self._writers.append(writer)

    def _commit(self) -> list[Path]:
        outputs: list[Path] = []
        for writer, sink in zip(self._writers, self._steps.sinks, strict=True):
            with blaming(sink.settings, "sink", self._plan.slide.info.name):
                outputs.extend(path for path in writer.commit() if self._folder.relative(path))
        return outputs

    def _extract(self) -> None:
        ledger, pipeline = self._record.ledger, self._plan.pipeline
        engine = TileEngine(self._plan, self._steps, threads=self._threads, batch_tiles=pipeline.run.batch_tiles)
        limit = pipeline.tiles.max_tiles
        waiting = ledger.candidates()
        total = len(waiting)
        if limit is not None:
            waiting = self._drawn(waiting)
        done = 0
        # With a limit, as many tiles are tried at a time as are still missing: none is ever written too many.
        while len(waiting) and (limit is None or ledger.written < limit):
            count = len(waiting) if limit is None else limit - ledger.written
            now, waiting = waiting[:count], waiting[count:]
            for result in engine.run(ledger.tiles.take(now)):
                done += self._settle(result)
                self._tell(done, total)
        if limit is not None and len(waiting):
            ledger.reject(waiting, "max-tiles")
        self._tell(total, total)

    def _tell(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(done, total)

    def _drawn(self, candidates: IntArray) -> IntArray:
        """The candidates in an order drawn from the seed and the slide's name."""
        seed = f"{self._plan.pipeline.tiles.seed}/{self._plan.slide.info.name}"
        order = candidates.tolist()
        random.Random(seed).shuffle(order)
        return np.array(order, np.int64)

    def _settle(self, result: BlockResult) -> int:
        """Note what became of a block, write what is kept of it, and give the number of its tiles."""
        ledger = self._record.ledger
        settled = len(result.unreadable)
        ledger.mark_unreadable(np.array(result.unreadable, np.int64))
        self._errors.extend(result.first_error)
        for reason, which in result.rejected:
            ledger.reject(which, reason)
            settled += len(which)
        for step, which, values in result.scores:
            ledger.score(step, which, values)
        for tiles, encoded in zip(result.kept, result.encoded, strict=True):
            for sink, writer, stored in zip(self._steps.sinks, self._writers, encoded, strict=True):
                with blaming(sink.settings, "sink", self._plan.slide.info.name):
                    writer.write(tiles, stored)
            ledger.mark_written(tiles.index)
            self._stored += len(tiles)
            settled += len(tiles)
        self._fallback += len(result.fallback)
        return settled


def _abort(writer: Writer) -> None:
    try:
        writer.abort()
    except Exception:  # the error that led here is the one to report
        log.exception("a sink's writer failed to clean up")
