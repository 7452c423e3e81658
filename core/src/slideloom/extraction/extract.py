"""Takes the tiles of a prepared slide through the engine and into every sink, or into none on a dry run."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import attrs
import numpy as np

from slideloom.base.errors import SlideError, SlideloomError
from slideloom.base.freed_memory import give_back_freed_memory
from slideloom.base.geometry import IntArray
from slideloom.extraction.companions import CompanionMaker
from slideloom.extraction.engine import BlockResult, TileEngine
from slideloom.planning.prepared import PreparedSlide, TileSteps
from slideloom.plugins.blaming import blaming
from slideloom.steps.sink import Writer


class Extraction:
    """Stores the tiles of one slide in every sink, and records the status of each tile in the slide's ledger.

    Args:
        prepared: the slide; its record is updated.
        writers: open writers of the pipeline's sinks; None on a dry run: tiles are decided on and not encoded, and the
            ledger calls "written" what a run would write.
        threads: number of threads that read, filter, normalize and encode.
        progress: called with the number of tiles done and their total number.

    Attributes:
        fallback: number of tiles for which the normalizer used its fallback.
    """

    def __init__(
        self,
        prepared: PreparedSlide,
        writers: Sequence[Writer] | None,
        *,
        threads: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._plan, self._record = prepared.plan, prepared.record
        steps = prepared.tile_steps()  # sinks too, on a dry run: whether they can be built is worth knowing
        # All low-resolution images have been looked at, and cutting needs the memory.
        self._plan.slide.forget_images(but_of=self._plan.scene.geometry.level)
        self._plan.slide.give_back_memory()
        give_back_freed_memory()
        self._steps: TileSteps = steps if writers is not None else attrs.evolve(steps, sinks=())
        self._threads = threads
        self._progress = progress
        self._writers = writers or ()
        self._settled = 0
        self._stored = 0
        self.fallback = 0
        self._errors: list[str] = []
        self._unnormalized: dict[str, int] = {}

    def run(self) -> None:
        """Cut and store the tiles that have not been rejected.

        Raises:
            SlideloomError: a step failed.
            SlideError: no tile could be read.
        """
        record = self._record
        with record.timed("tiles"):
            self._extract()
        self._check_account()
        for name, count in self._unnormalized.items():
            record.metrics[f"{name}.unnormalized"] = float(count)
            record.warnings.append(f"{count} pictures {name} could not be normalized and are stored as they are")
        if self._errors and record.ledger.unreadable == self._settled:
            raise SlideError(
                f"{self._plan.slide.info.name}: none of the {self._settled} tiles tried could be read: "
                f"{self._errors[0]}; check the file and its disk, then run again"
            )
        if self._errors:
            more = f" and {len(self._errors) - 1} more" if len(self._errors) > 1 else ""
            record.warnings.append(f"unreadable tiles: {self._errors[0]}{more}")

    def _check_account(self) -> None:
        """Check that every planned tile has a final status, and that sinks got each written tile exactly once."""
        ledger, stored = self._record.ledger, self._stored
        undecided = len(ledger.candidates())
        if undecided or stored != ledger.written:
            raise SlideloomError(
                f"{self._plan.slide.info.name}: of {len(ledger)} planned tiles {undecided} were lost on the way, and "
                f"sinks got {stored} where {ledger.written} are accounted for; a step changed the numbers of its "
                "tiles: leave out filters and normalizers one by one to find it"
            )

    def _extract(self) -> None:
        ledger, pipeline = self._record.ledger, self._plan.pipeline
        engine = TileEngine(
            self._plan,
            self._steps,
            threads=self._threads,
            batch_tiles=pipeline.run.batch_tiles,
            companions=CompanionMaker.of(self._plan, self._record),
        )
        limit = pipeline.tiles.max_tiles
        waiting = ledger.candidates()
        total = len(waiting)
        if limit is not None:
            waiting = self._drawn(waiting)
        # With a limit, no more tiles are tried at a time than are still missing, so that never too many are written.
        while len(waiting) and (limit is None or ledger.written < limit):
            count = len(waiting) if limit is None else limit - ledger.written
            now, waiting = waiting[:count], waiting[count:]
            for result in engine.run(ledger.tiles.take(now)):
                self._settled += self._settle(result)
                self._tell(self._settled, total)
        if limit is not None and len(waiting):
            ledger.reject(waiting, "max-tiles")
        self._tell(total, total)

    def _tell(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(done, total)

    def _drawn(self, candidates: IntArray) -> IntArray:
        """The candidates in a random order, which depends on the seed and the slide's name."""
        seed = f"{self._plan.pipeline.tiles.seed}/{self._plan.slide.info.name}"
        order = candidates.tolist()
        random.Random(seed).shuffle(order)
        return np.array(order, np.int64)

    def _settle(self, result: BlockResult) -> int:
        """Record the results of a block, write its kept tiles, and return the number of its tiles."""
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
        self.fallback += len(result.fallback)
        for name, count in result.unnormalized:
            self._unnormalized[name] = self._unnormalized.get(name, 0) + count
        return settled
