# ruff: noqa: S101 - asserts are what a contract is made of
"""The contract of sinks."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from attrs import evolve
from slideloom.base.errors import OutputError
from slideloom.base.geometry import Size
from slideloom.slides.info import SlideInfo
from slideloom.slides.tiles import TileBatch
from slideloom.steps.companions import MASK, Companion
from slideloom.steps.scene import Scene
from slideloom.steps.sink import Sink, Writer

from slideloom_testing.contracts.base import SettingsContract, global_random_state_untouched
from slideloom_testing.tiles import batch_of, info_of, read_only, scene_of, stained, take, tiles_of


class SinkContract(SettingsContract):
    """What every sink must do. Set `settings`; `tile_px`, `count`, `batch` and `scene` may be overridden.

    Attributes:
        tile_px: width and height of the tiles in the test.
        count: number of tiles.
    """

    kind: ClassVar[type] = Sink
    tile_px: ClassVar[int] = 64
    count: ClassVar[int] = 7

    def batch(self) -> TileBatch:
        """Tiles with pixels, as passed by a job; some were rejected before, so their numbers have gaps."""
        side, footprint = Size(self.tile_px, self.tile_px), Size(200, 200)
        tiles = tiles_of(2 * self.count, footprint=footprint).take(np.arange(self.count) * 2)
        return batch_of([stained(side, seed=seed) for seed in range(self.count)], tiles=tiles)

    def scene(self) -> Scene:
        """The geometry of these tiles."""
        return scene_of(tile_px=self.tile_px, footprint=Size(200, 200), mpp=1.0)

    def info(self, name: str = "slide") -> SlideInfo:
        """The slide of the tiles."""
        return info_of(name)

    def writer(self, folder: Path, name: str = "slide") -> tuple[Sink, Writer]:
        """A newly built sink and its writer for one slide."""
        folder.mkdir(exist_ok=True)
        sink: Sink = self.built()
        return sink, sink.open(self.info(name), self.scene(), folder)

    def stored(self, folder: Path, *, sizes: Sequence[int] | None = None, name: str = "slide") -> list[Path]:
        """All tiles written in batches of these sizes (by default at once) and committed."""
        sink, writer = self.writer(folder, name)
        batch, start = self.batch(), 0
        for size in sizes or [len(batch)]:
            part = take(batch, slice(start, start + size))
            writer.write(part.tiles, sink.encode(part))
            start += size
        return list(writer.commit())

    def test_every_tile_is_encoded(self) -> None:
        """`encode` returns one value per tile, without changing its input or global random state."""
        batch = self.batch()
        before = batch.rgb.copy()
        with global_random_state_untouched():
            assert len(self.built().encode(batch)) == len(batch)
        assert np.array_equal(batch.rgb, before), "the sink wrote to its input"

    def test_commit_returns_what_it_made(self, tmp_path: Path) -> None:
        """Existing files or folders, inside the output folder, each once."""
        made = self.stored(tmp_path / "out")
        assert made, "nothing made out of tiles"
        assert len(set(made)) == len(made)
        for path in made:
            assert path.exists(), f"{path} was promised"
            assert path.resolve().is_relative_to((tmp_path / "out").resolve()), f"{path} is not in the output folder"

    def test_nothing_has_a_final_name_before_commit(self, tmp_path: Path) -> None:
        """A program that looks into the folder in the meantime must not find half a file."""
        folder = tmp_path / "out"
        sink, writer = self.writer(folder)
        batch = self.batch()
        writer.write(batch.tiles, sink.encode(batch))
        before = set(contents(folder))
        made = list(writer.commit())
        early = before & set(contents(folder))
        assert not early, f"there under their final names before commit: {sorted(early)}"
        for path in made:
            assert not any((folder / name).is_relative_to(path) for name in before), f"{path} was there before commit"

    def test_prepare_gives_nothing_its_final_name(self, tmp_path: Path) -> None:
        """Every sink prepares before the first one commits; what is prepared is whole, and goes away by `abort`."""
        folder = tmp_path / "out"
        sink, writer = self.writer(folder)
        if not writer.has_phases:
            pytest.skip("the writer has no `prepare`: it is committed after all others")
        batch = self.batch()
        writer.write(batch.tiles, sink.encode(batch))
        prepared = list(writer.prepare())
        assert prepared, "nothing prepared out of tiles"
        assert not any(item.path.exists() for item in prepared), "there under its final name before commit"
        assert max(item.tiles for item in prepared) > 0, "nothing that is prepared says how many tiles it holds"
        sizes = [_bytes(item.partial) for item in prepared]
        made = list(writer.commit())
        assert set(made) == {item.path for item in prepared}, "commit names something else than was prepared"
        assert [_bytes(item.path) for item in prepared] == sizes, "commit changed what was prepared"
        sink, writer = self.writer(tmp_path / "aborted")
        writer.write(batch.tiles, sink.encode(batch))
        writer.prepare()
        writer.abort()
        assert contents(tmp_path / "aborted") == {}

    def test_targets_name_what_commit_replaces(self, tmp_path: Path) -> None:
        """So that a run can refuse before the first tile what is not its own."""
        folder = tmp_path / "out"
        made = self.stored(folder)
        _, writer = self.writer(folder)
        if writer.has_phases:
            assert set(made) <= set(writer.targets())
        writer.abort()

    def test_commit_leaves_nothing_but_what_it_returns(self, tmp_path: Path) -> None:
        """No temporary file is left behind."""
        folder = tmp_path / "out"
        made = self.stored(folder)
        stray = [name for name in contents(folder) if not any((folder / name).is_relative_to(path) for path in made)]
        assert stray == [], "left behind, or not returned by commit"

    def test_abort_leaves_nothing(self, tmp_path: Path) -> None:
        """After some tiles and before the first; empty folders may stay, as others may be using them."""
        folder = tmp_path / "out"
        sink, writer = self.writer(folder)
        batch = self.batch()
        writer.write(batch.tiles, sink.encode(batch))
        writer.abort()
        assert contents(folder) == {}
        _, writer = self.writer(folder)
        writer.abort()
        assert contents(folder) == {}

    def test_abort_can_be_repeated(self, tmp_path: Path) -> None:
        """It is called on the way out of an error and must not raise another."""
        _, writer = self.writer(tmp_path / "out")
        writer.abort()
        writer.abort()

    def test_abort_spares_what_was_committed_earlier(self, tmp_path: Path) -> None:
        """Of other slides, and of an earlier run of this one."""
        folder = tmp_path / "out"
        self.stored(folder, name="first")
        self.stored(folder, name="second")
        before = contents(folder)
        sink, writer = self.writer(folder, "second")
        batch = take(self.batch(), slice(0, 2))
        writer.write(batch.tiles, sink.encode(batch))
        writer.abort()
        assert contents(folder) == before

    def test_no_tile_makes_no_file(self, tmp_path: Path) -> None:
        """`commit` without tiles returns nothing and leaves nothing."""
        _, writer = self.writer(tmp_path / "out")
        assert list(writer.commit()) == []
        assert contents(tmp_path / "out") == {}

    @pytest.mark.parametrize("sizes", [(3, 4), (1, 1, 1, 1, 1, 1, 1)], ids=["halves", "singles"])
    def test_batches_do_not_show_in_the_output(self, tmp_path: Path, sizes: tuple[int, ...]) -> None:
        """Tiles written in parts give the same bytes as in one write."""
        count = len(self.batch())
        sizes = sizes if sum(sizes) == count else (count // 2, count - count // 2)
        self.stored(tmp_path / "whole")
        self.stored(tmp_path / "parts", sizes=sizes)
        assert contents(tmp_path / "parts") == contents(tmp_path / "whole")

    def test_a_second_run_replaces_the_first(self, tmp_path: Path) -> None:
        """Writing the same slide again gives the same bytes under the same names."""
        folder = tmp_path / "out"
        first, once = self.stored(folder), contents(folder)
        assert self.stored(folder) == first
        assert contents(folder) == once

    @pytest.mark.parametrize("earlier", [False, True], ids=["new", "again"])
    def test_two_runs_at_once_do_not_mix(self, tmp_path: Path, earlier: bool) -> None:
        """Two writers of one slide, as where two machines do not see each other's lock: the second one fails.

        `slideloom.Draft` does what is needed.
        """
        alone, folder = tmp_path / "alone", tmp_path / "out"
        if earlier:
            self.stored(folder, sizes=[2])
        self.stored(alone)
        batch = self.batch()
        (sink, first), (_, second) = self.writer(folder), self.writer(folder)
        for part in (take(batch, slice(0, 3)), take(batch, slice(3, None))):
            first.write(part.tiles, sink.encode(part))
            second.write(part.tiles, sink.encode(part))
        first.commit()
        with pytest.raises(OutputError):
            second.commit()
        second.abort()
        assert contents(folder) == contents(alone)

    def test_a_run_that_finds_no_tile_spares_what_another_has_written_meanwhile(self, tmp_path: Path) -> None:
        """As above, where the second one has nothing to store."""
        alone, folder = tmp_path / "alone", tmp_path / "out"
        self.stored(folder, sizes=[2])
        self.stored(alone)
        (sink, first), (_, second) = self.writer(folder), self.writer(folder)
        batch = self.batch()
        first.write(batch.tiles, sink.encode(batch))
        first.commit()
        with suppress(OutputError):
            second.commit()
        second.abort()
        assert contents(folder) == contents(alone)

    def test_slides_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        """Two writers are open at once in one folder, as with two jobs."""
        alone, folder = tmp_path / "alone", tmp_path / "out"
        self.stored(alone, name="first")
        self.stored(alone, name="second")
        batch = self.batch()
        (sink, first), (_, second) = self.writer(folder, "first"), self.writer(folder, "second")
        for part in (take(batch, slice(0, 3)), take(batch, slice(3, None))):
            first.write(part.tiles, sink.encode(part))
            second.write(part.tiles, sink.encode(part))
        first.commit()
        second.commit()
        assert contents(folder) == contents(alone)

    @pytest.mark.parametrize("name", ["TCGA-AA-0001-01Z.1a2b", "Präparat 12 (b)", "..hidden"])
    def test_unusual_slide_names_stay_inside_the_folder(self, tmp_path: Path, name: str) -> None:
        """Dots, blanks and letters beyond ASCII occur in real file names."""
        folder = tmp_path / "out"
        made = self.stored(folder, name=name)
        assert all(path.exists() and path.resolve().is_relative_to(folder.resolve()) for path in made)
        assert [entry.name for entry in tmp_path.iterdir()] == ["out"]

    def test_companions_are_stored_alike_for_any_batches(self, tmp_path: Path) -> None:
        """Masks and context of tiles, if the sink says that it stores them: more bytes, in any batches the same."""
        if not self.built().stores_companions:
            pytest.skip("the sink stores tiles only, so a pipeline that wants more is refused")
        plain = sum(_bytes(path) for path in self.stored(tmp_path / "plain"))
        batch, scene = self._with_companions()
        found = []
        for name, sizes in (("whole", [len(batch)]), ("parts", [3, len(batch) - 3])):
            (tmp_path / name).mkdir()
            sink: Sink = self.built()
            writer, start = sink.open(self.info(), scene, tmp_path / name), 0
            for size in sizes:
                part = take(batch, slice(start, start + size))
                beside = {each: array[start : start + size] for each, array in batch.companions.items()}
                writer.write(part.tiles, sink.encode(evolve(part, companions=beside)))
                start += size
            made = list(writer.commit())
            assert contents(tmp_path / name).keys() == {
                file.relative_to(tmp_path / name).as_posix() for path in made for file in _files(path)
            }, "left behind, or not returned by commit"
            found.append(contents(tmp_path / name))
        assert found[0] == found[1]
        assert sum(_bytes(path) for path in made) > plain, "no byte more than without masks and context"

    def _with_companions(self) -> tuple[TileBatch, Scene]:
        batch, side = self.batch(), self.tile_px
        random = np.random.default_rng(0)
        mask = random.integers(0, 3, (len(batch), side, side), np.uint8)
        context = random.integers(0, 255, (len(batch), 32, 32, 3), np.uint8)
        companions = (Companion(MASK, side, 1.0, {"background": 0, "a": 1, "b": 2}), Companion("context_9um", 32, 2.0))
        scene = evolve(self.scene(), companions=companions)
        return evolve(batch, companions={MASK: mask, "context_9um": context}), scene

    def test_memory_of_pixels_may_be_used_again(self, tmp_path: Path) -> None:
        """A sink that says `keeps_pixels = False` neither remembers nor returns the memory of its batch."""
        if self.built().keeps_pixels:
            pytest.skip("the sink does not say keeps_pixels = False, so the core leaves it the memory of its batches")
        sink, writer = self.writer(tmp_path / "again")
        batch = self.batch()
        memory, encoded = np.empty_like(batch.rgb[:1]), []
        for i in range(len(batch)):
            memory[...] = batch.rgb[i]
            encoded.append(sink.encode(evolve(take(batch, slice(i, i + 1)), rgb=read_only(memory))))
        for i, values in enumerate(encoded):
            writer.write(batch.tiles.take(slice(i, i + 1)), values)
        writer.commit()
        self.stored(tmp_path / "alone")
        assert contents(tmp_path / "again") == contents(tmp_path / "alone")

    def test_threads_encode_the_same(self, tmp_path: Path) -> None:
        """Several threads call `encode` at once, unless the sink says `thread_safe = False`."""
        sink, writer = self.writer(tmp_path / "threads")
        if not sink.thread_safe:
            pytest.skip("the sink says thread_safe = False, so the core calls it under a lock")
        batch = self.batch()
        parts = [take(batch, slice(i, i + 1)) for i in range(len(batch))]
        with ThreadPoolExecutor(4) as pool:
            for part, encoded in zip(parts, pool.map(sink.encode, parts), strict=True):
                writer.write(part.tiles, encoded)
        writer.commit()
        self.stored(tmp_path / "alone")
        assert contents(tmp_path / "threads") == contents(tmp_path / "alone")


def contents(folder: Path) -> dict[str, Any]:  # Any: a digest per file
    """SHA-256 of every file below `folder` by its relative name."""
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _files(path: Path) -> list[Path]:
    """A file, or all files in a folder."""
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def _bytes(path: Path) -> int:
    """Of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in _files(path))
