"""Temporary names: no two alike, and cleared away where the process that gave them is dead."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from slideloom import partial_path, path_inside
from slideloom.base.errors import OutputError
from slideloom.base.storing import write_whole
from slideloom.base.temporary import (
    aside_path,
    discard_path,
    forget_sweeps,
    remove_abandoned,
    remove_abandoned_at_times,
    tidied_when_interrupted,
)
from slideloom_testing.disks import left_by_a_dead_process

DAY = 24 * 3600
STAY = """
import sys, threading
from pathlib import Path
from slideloom import partial_path
partial_path(Path(sys.argv[1]) / "b").touch()
print(flush=True)
threading.Event().wait()
"""


def foreign(path: Path) -> Path:
    """The temporary name that a process of another machine would give."""
    return path.with_name(re.sub(r"\.[0-9a-f]{8}-", ".00000000-", partial_path(path).name))


def written_ago(path: Path, seconds: float) -> None:
    path.touch()
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_a_temporary_name_is_hidden_in_the_same_folder_and_never_given_twice(tmp_path: Path) -> None:
    names = [partial_path(tmp_path / "a.tfrecords") for _ in range(3)] + [aside_path(tmp_path / "a.tfrecords")]

    assert len(set(names)) == 4
    assert all(name.parent == tmp_path for name in names)
    for name in names:
        assert re.fullmatch(r"\.a\.tfrecords\.[0-9a-f]{8}-\d+-[0-9a-f]{6}-\d+\.(partial|old)", name.name)
        with pytest.raises(OutputError, match="rename the slide"):
            path_inside(tmp_path, name.name)


def test_what_a_dead_process_left_is_removed_be_it_file_or_folder(tmp_path: Path) -> None:
    left_by_a_dead_process(tmp_path / "a.tfrecords").touch()
    folder = left_by_a_dead_process(tmp_path / "a")
    folder.mkdir()
    (folder / "a-1-1.jpg").touch()

    remove_abandoned(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_what_living_processes_make_and_what_is_not_ours_stays(
    tmp_path: Path, start_process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    other = start_process([sys.executable, "-c", STAY, str(tmp_path)], stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.readline()
    partial_path(tmp_path / "a").touch()
    (tmp_path / ".a.partial").touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / "a").touch()
    before = sorted(tmp_path.iterdir())

    remove_abandoned(tmp_path)

    assert sorted(tmp_path.iterdir()) == before
    other.kill()
    other.communicate()
    remove_abandoned(tmp_path)
    assert len(list(tmp_path.iterdir())) == len(before) - 1


def test_an_earlier_process_of_this_number_is_dead(tmp_path: Path) -> None:
    mine = partial_path(tmp_path / "a")
    mine.touch()
    # In a container, process 1 comes after process 1.
    mine.with_name(re.sub(r"-[0-9a-f]{6}-", "-000000-", mine.name)).touch()

    remove_abandoned(tmp_path)

    assert list(tmp_path.iterdir()) == [mine]


def test_what_another_machine_makes_stays_while_it_is_written_and_goes_after_a_day(tmp_path: Path) -> None:
    fresh, old = foreign(tmp_path / "a"), foreign(tmp_path / "b")
    written_ago(fresh, 0.9 * DAY)
    written_ago(old, 1.1 * DAY)

    remove_abandoned(tmp_path)

    assert list(tmp_path.iterdir()) == [fresh]


def test_what_a_dead_process_moved_aside_goes_back_where_nothing_took_its_place(tmp_path: Path) -> None:
    for name in ("a", "b"):
        aside = left_by_a_dead_process(tmp_path / name, aside=True)
        aside.mkdir()
        (aside / "old").touch()
    (tmp_path / "b").mkdir()

    remove_abandoned(tmp_path)

    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["a", "a/old", "b"]


def test_writing_a_file_whole_clears_the_folder_of_what_the_dead_left(tmp_path: Path) -> None:
    left_by_a_dead_process(tmp_path / "other.json").touch()

    write_whole(tmp_path / "a.json", b"{}")

    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_nothing_to_clear_is_no_error(tmp_path: Path) -> None:
    remove_abandoned(tmp_path / "none")


def test_a_process_that_lives_long_looks_again_for_what_others_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    write_whole(tmp_path / "a", b"")
    left = left_by_a_dead_process(tmp_path / "b")
    left.touch()

    now += 59
    write_whole(tmp_path / "a", b"")
    assert left.exists()  # of a million files in a folder, not each makes a look at all of them

    now += 1
    write_whole(tmp_path / "a", b"")
    assert not left.exists()


def test_a_run_looks_for_what_others_left_whatever_the_process_has_seen(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"")
    left = left_by_a_dead_process(tmp_path / "b")
    left.touch()

    forget_sweeps()
    write_whole(tmp_path / "a", b"")

    assert not left.exists()


@pytest.mark.parametrize("is_aside", [False, True], ids=["under its name", "moved aside"])
def test_half_a_folder_is_never_taken_for_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_aside: bool
) -> None:
    folder = tmp_path / "a"
    if is_aside:
        folder = left_by_a_dead_process(folder, aside=True)
    folder.mkdir()
    (folder / "1.jpg").touch()
    (folder / "2.jpg").touch()

    def die_on_the_way(path: Path) -> None:
        (path / "1.jpg").unlink()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("shutil.rmtree", die_on_the_way)
    with pytest.raises(OSError, match="Input/output"):
        discard_path(folder)
    monkeypatch.undo()
    remove_abandoned(tmp_path)

    assert not (tmp_path / "a").exists()
    assert all(left.name.endswith(".partial") for left in tmp_path.iterdir())


def test_a_folder_is_removed_where_there_is_no_room_for_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename(path: Path, goal: Path) -> Path:
        raise OSError(errno.ENOSPC, f"no room to call {path} {goal}")

    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "tile.jpg").write_text("tile")
    monkeypatch.setattr(Path, "rename", rename)

    discard_path(tmp_path / "folder")

    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system does not tell when a process started")
def test_a_process_that_has_the_number_of_a_dead_one_is_not_taken_for_it(
    tmp_path: Path, start_process: Callable[..., subprocess.Popen[str]]
) -> None:
    code = """
import sys
from pathlib import Path
from slideloom import partial_path
partial_path(Path(sys.argv[1])).touch()
print("made", flush=True)
sys.stdin.read()
"""
    words = [sys.executable, "-c", code, str(tmp_path / "a")]
    other = start_process(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "made\n"  # type: ignore[union-attr]
    (of_other,) = tmp_path.iterdir()
    host, pid, word, number = of_other.name.split(".")[2].split("-")
    of_dead = tmp_path / f".b.{host}-{pid}-{int(word, 16) ^ 1:06x}-{number}.partial"
    of_dead.touch()

    remove_abandoned(tmp_path)

    assert list(tmp_path.iterdir()) == [of_other]


@tidied_when_interrupted()
def worked_and(ending: BaseException, folder: Path) -> None:
    path = partial_path(folder / "finished")
    path.write_text("whole")
    path.rename(folder / "finished")
    partial_path(folder / "a").write_text("half")
    partial_path(folder / "folder").mkdir()
    raise ending


@pytest.mark.parametrize("ending", [KeyboardInterrupt(), SystemExit(1)])
def test_an_interrupt_between_making_a_file_and_noting_it_leaves_no_file(tmp_path: Path, ending: BaseException) -> None:
    with pytest.raises(type(ending)):
        worked_and(ending, tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["finished"]


def test_an_error_that_is_no_interrupt_leaves_files_to_who_made_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"):
        worked_and(ValueError("no"), tmp_path)

    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_that_takes_long_to_list_is_looked_through_more_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[float] = []

    class Clock:  # each look at the folder takes ten seconds
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()

    def listed(folder: Path) -> list[str]:
        looked.append(clock.now)
        clock.now += 10.0
        return []

    forget_sweeps()
    monkeypatch.setattr("slideloom.base.temporary.time", clock)
    monkeypatch.setattr("slideloom.base.temporary.os.listdir", listed)
    for clock.now in (0.0, 61.0, 900.0, 1011.0):
        remove_abandoned_at_times(tmp_path)

    assert looked == [0.0, 1011.0]
    forget_sweeps()
