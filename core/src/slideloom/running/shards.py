"""Several runs in one output folder at a time, each with its share of the slides, as the tasks of a job array.

OUT/slideloom/LABEL/shards.json            which slide belongs to which shard, as the first of them divided the slides
OUT/slideloom/shards/LABEL.K-of-N          locked while shard K of N works

The lock of the folder is held only while a shard begins and ends. Locks of shards are taken and looked at only within
it, so that nobody who looks is mistaken for a shard at work.
"""

from __future__ import annotations

import heapq
import os
import re
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Self

from attrs import frozen

from slideloom.base.addresses import Address, SlidePlace
from slideloom.base.errors import ConfigError, OutputError
from slideloom.base.locks import take_lock
from slideloom.base.naming import option_given, option_name
from slideloom.base.parsing import parse_json
from slideloom.base.storing import write_json
from slideloom.extraction.output_folder import OutputFolder
from slideloom.running.sharing import SHARD, locked_for_a_moment
from slideloom.slides.names import NamedSlide

AUTO = "auto"
# What schedulers tell the tasks of a job array: number, first and last number, and step.
_ARRAYS = {
    "Slurm": ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_STEP"),
    "Grid Engine": ("SGE_TASK_ID", "SGE_TASK_FIRST", "SGE_TASK_LAST", "SGE_TASK_STEPSIZE"),
    "LSF": ("LSB_JOBINDEX", "", "LSB_JOBINDEX_END", "LSB_JOBINDEX_STEP"),
}


@frozen
class Shard:
    """One of several runs that share the slides.

    Attributes:
        number: from 1 to `of`.
        of: number of shards.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] = os.environ) -> Self:
        """The shard that "3/16" names, or with "auto" the task of the job array that this process is.

        Raises:
            ConfigError: it is neither, or this process is no such task.
        """
        if text == AUTO:
            return cls(*_array_task(environment))
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise ConfigError(
                f"{option_name('run', 'shard')} must be K/N with K from 1 to N, such as 3/16, or {AUTO}, not {text!r}"
            )
        return cls(int(found[1]), int(found[2]))

    def share(self, folder: OutputFolder, slides: Sequence[NamedSlide], *, stored: bool = True) -> list[NamedSlide]:
        """The slides of this shard.

        The first shard divides the slides so that all shards have about as many bytes, and stores who has which. A
        slide that a later one finds besides goes by its name. Call it with the folder locked, unless not `stored`.

        Raises:
            OutputError: shards of another number are at work, or the file cannot be written.
        """
        known = self._known(folder) if stored else {}
        new = [slide for slide in slides if slide.name not in known]
        if new:
            known |= _by_name(new, self.of) if known else _by_size(new, self.of)
            if stored:
                write_json(_plan(folder), {"of": self.of, "slides": known})
        return [slide for slide in slides if known[slide.name] == self.number]

    def is_last(self, folder: OutputFolder, done: Collection[str]) -> bool:
        """True if no slide of any shard is missing among those that are `done`."""
        return set(self._known(folder)) <= set(done)

    def _known(self, folder: OutputFolder) -> dict[str, int]:
        try:
            table = parse_json(_plan(folder).read_text(encoding="utf-8"))
            of, known = int(table["of"]), {str(name): int(number) for name, number in table["slides"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if self.others(folder):
                raise OutputError(
                    f"{_plan(folder)}: cannot be read ({error}); wait until the other shards have ended, and remove it"
                ) from error
            return {}
        if of == self.of:
            return known
        if self.others(folder):
            raise OutputError(
                f"{folder.root}: shards of {of} are at work, this is one of {self.of}; wait for them, or use as many"
            )
        return {}

    @contextmanager
    def at_work(self, folder: OutputFolder) -> Iterator[None]:
        """Within it, no other process is this shard, and no run has the folder for itself.

        Enter it with the folder locked.

        Raises:
            OutputError: another process is this shard, or the folder cannot be written.
        """
        with folder.holding(
            _locks(folder) / self._name(folder),
            taken=f"shard {self.number}/{self.of} is at work already ({{holder}}); wait for it",
        ):
            yield

    def locked(self, folder: OutputFolder) -> AbstractContextManager[None]:
        """Within it, this shard has the folder for itself; other runs that begin or end are waited for.

        Raises:
            OutputError: a run that keeps the folder for itself works in it.
        """
        return locked_for_a_moment(folder, by=f"{SHARD} {self.number}/{self.of}")

    def others(self, folder: OutputFolder) -> list[str]:
        """Names of the other shards at work; ask with the folder locked."""
        return [name for name in shards_at_work(folder) if name != self._name(folder)]

    def _name(self, folder: OutputFolder) -> str:
        return f"{folder.label}.{self.number}-of-{self.of}"


def shards_at_work(folder: OutputFolder) -> list[str]:
    """Names of the locks of shards that work in an output folder, of any tile size; ask with the folder locked."""
    found = []
    for path in sorted(_locks(folder).glob("*-of-*")):
        if path.suffix not in (".holder", ".stand-in"):
            lock = take_lock(path)
            if lock is None:
                found.append(path.name)
            else:
                lock.release()
    return found


def _locks(folder: OutputFolder) -> Path:
    return folder.root / "slideloom" / "shards"


def _plan(folder: OutputFolder) -> Path:
    return folder.state / "shards.json"


def _auto() -> str:
    return option_given("run", "shard", AUTO)


def _array_task(environment: Mapping[str, str]) -> tuple[int, int]:
    for scheduler, (number, first, last, step) in _ARRAYS.items():
        task = environment.get(number, "")
        if task.isdigit() and (task != "0" or scheduler == "Slurm"):  # 0 and "undefined" stand for no array elsewhere
            try:
                begin, end = int(environment.get(first, "1")), int(environment[last])
                stride = int(environment.get(step, "1"))
                return (int(task) - begin) // stride + 1, (end - begin) // stride + 1
            except (KeyError, ValueError, ZeroDivisionError) as error:
                raise ConfigError(f"{_auto()}: {scheduler} sets {number} but not {last} ({error}); give K/N") from error
    if "PBS_ARRAY_INDEX" in environment:
        raise ConfigError(f"{_auto()}: PBS does not tell how many tasks there are; give $PBS_ARRAY_INDEX/N")
    raise ConfigError(f"{_auto()}: this process is no task of a Slurm, Grid Engine or LSF job array; give K/N")


def _by_size(slides: Sequence[NamedSlide], of: int) -> dict[str, int]:
    """Largest slides first, each to the shard that has fewest bytes."""
    sizes = {slide: _bytes_of(slide.place) for slide in slides}
    loads = [(0, number) for number in range(1, of + 1)]
    found: dict[str, int] = {}
    for slide in sorted(slides, key=lambda each: (-sizes[each], each.name)):
        load, number = loads[0]
        heapq.heapreplace(loads, (load + sizes[slide] + 1, number))  # the one byte also spreads slides of unknown size
        found[slide.name] = number
    return found


def _by_name(slides: Sequence[NamedSlide], of: int) -> dict[str, int]:
    return {slide.name: zlib.crc32(slide.name.encode("utf-8", "surrogateescape")) % of + 1 for slide in slides}


def _bytes_of(path: SlidePlace) -> int:
    if isinstance(path, Address):  # to ask for the size of each would take as long as to list them
        return 0
    try:
        return path.stat().st_size
    except OSError:  # it fails when its turn comes
        return 0
