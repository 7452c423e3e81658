"""Signs of life: who works on this machine is known at once, and elsewhere by what changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from slideloom.base.live_processes import runs_here, word_of
from slideloom.base.signs_of_life import SignOfLife, Told, Watcher

SHOW = """
import sys, threading
from pathlib import Path
from slideloom.base.signs_of_life import SignOfLife
with SignOfLife(Path(sys.argv[1]), {}):
    print(flush=True)
    threading.Event().wait()
"""


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def foreign(folder: Path, **changes: object) -> Path:
    """The sign of a process of another machine."""
    table = {"boot": "another", "host": "node7", "process": 1, "word": "abcdef", "about": {}, **changes}
    path = folder / "foreign"
    path.write_text(json.dumps(table))
    return path


def touched(path: Path, *, seconds: float) -> None:
    """Give a file a time that differs from the one it has."""
    then = path.stat().st_mtime + seconds
    os.utime(path, (then, then))


def test_a_sign_tells_who_works_and_is_gone_afterwards(tmp_path: Path) -> None:
    with SignOfLife(tmp_path / "at_work", {"label": "x"}) as sign:
        told = Told.by(sign.path)
        assert told is not None
        assert (told.process, told.about) == (os.getpid(), {"label": "x"})
        assert Watcher().is_alive(sign.path) is True

    assert not sign.path.exists()
    assert Watcher().is_alive(sign.path) is False


def test_two_signs_of_one_process_have_two_names(tmp_path: Path) -> None:
    with SignOfLife(tmp_path, {}) as one, SignOfLife(tmp_path, {}) as other:
        assert one.path != other.path


def test_a_process_of_this_machine_is_known_to_be_dead_at_once(
    tmp_path: Path, start_process: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start_process([sys.executable, "-c", SHOW, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    (sign,) = tmp_path.iterdir()
    watcher = Watcher()
    assert watcher.is_alive(sign) is True

    process.kill()
    process.communicate()

    assert watcher.is_alive(sign) is False
    assert Watcher().is_alive(sign) is False


def test_a_process_of_another_machine_is_known_to_live_when_its_sign_changes(tmp_path: Path) -> None:
    clock = Clock()
    sign, watcher = foreign(tmp_path), Watcher(clock=clock, silence_s=300)
    assert watcher.is_alive(sign) is None

    clock.now += 20
    touched(sign, seconds=20)

    assert watcher.is_alive(sign) is True


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_is_wrong_by_hours_makes_no_process_dead_or_alive(tmp_path: Path, hours: int) -> None:
    clock = Clock()
    sign, watcher = foreign(tmp_path), Watcher(clock=clock, silence_s=300)
    touched(sign, seconds=hours * 3600)
    assert watcher.is_alive(sign) is None

    for _ in range(30):
        clock.now += 20
        touched(sign, seconds=20)
        assert watcher.is_alive(sign) is True
    clock.now += 299
    assert watcher.is_alive(sign) is True
    clock.now += 2
    assert watcher.is_alive(sign) is False


def test_a_silent_process_that_changes_its_sign_again_lives_again(tmp_path: Path) -> None:
    clock = Clock()
    sign, watcher = foreign(tmp_path), Watcher(clock=clock, silence_s=300)
    assert watcher.is_alive(sign) is None
    clock.now += 301
    assert watcher.is_alive(sign) is False

    touched(sign, seconds=1)

    assert watcher.is_alive(sign) is True


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"boot": 1, "host": "a"}'])
def test_a_sign_that_cannot_be_understood_is_judged_by_its_changes(tmp_path: Path, content: str) -> None:
    clock = Clock()
    sign, watcher = foreign(tmp_path), Watcher(clock=clock, silence_s=300)
    sign.write_text(content)

    assert Told.by(sign) is None
    assert watcher.is_alive(sign) is None
    clock.now += 301
    assert watcher.is_alive(sign) is False


def test_a_sign_that_another_run_removed_is_shown_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with SignOfLife(tmp_path, {"label": "x"}) as sign:
        sign.path.unlink()

        sign.renew()

        told = Told.by(sign.path)
        assert told is not None
        assert told.about == {"label": "x"}
    assert "took this one for dead" in caplog.text


def test_a_process_with_the_number_of_a_dead_one_is_another(tmp_path: Path) -> None:
    assert runs_here(os.getpid(), word_of(os.getpid())) is True
    assert runs_here(os.getpid(), "000000") is False


@pytest.mark.skipif(sys.platform != "linux", reason="the state of a process is in /proc")
def test_a_process_that_was_killed_is_dead_before_its_parent_asks(
    start_process: Callable[..., subprocess.Popen[bytes]],
) -> None:
    process = start_process([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    word = word_of(process.pid)
    assert runs_here(process.pid, word) is True

    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert runs_here(process.pid, word) is False
