"""Locks: one holder at a time, none after its death, and a stand-in where the file system has no locks."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from slideloom.base.errors import OutputError
from slideloom.base.locks import holder_of, take_lock
from slideloom.extraction.output_folder import OutputFolder
from slideloom_testing.disks import full_disk

posix = pytest.mark.skipif(sys.platform == "win32", reason="flock is of POSIX systems")

HOLD = """
import sys, threading
from pathlib import Path
from slideloom.base.locks import take_lock
if len(sys.argv) > 2:
    import fcntl
    def no_locks(*_): raise OSError(int(sys.argv[2]), "none here")
    fcntl.flock = no_locks
lock = take_lock(Path(sys.argv[1]))
print(lock is not None, flush=True)
threading.Event().wait()
"""


Holder = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def holder(start_process: Callable[..., subprocess.Popen[str]]) -> Holder:
    """Starts another process that holds the lock, or tried to, until it is killed."""

    def hold(path: Path, *more: object) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", HOLD, str(path), *map(str, more)]
        process = start_process(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        return process

    return hold


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    """A file system whose flock fails; gives the error's number."""
    number: int = request.param
    fcntl = pytest.importorskip("fcntl", reason="POSIX only")

    def no_locks(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    return number


NO_LOCKS = [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP]
everywhere = pytest.mark.parametrize("without_locks", NO_LOCKS, ids=os.strerror, indirect=True)


def test_a_lock_has_one_holder_who_is_known_by_name(tmp_path: Path) -> None:
    lock = take_lock(tmp_path / "lock")

    assert lock is not None
    assert take_lock(tmp_path / "lock") is None
    assert holder_of(tmp_path / "lock") == f"process {os.getpid()} on {socket.gethostname()}"

    lock.release()
    again = take_lock(tmp_path / "lock")
    assert again is not None
    again.release()


def test_a_lock_ends_with_its_process_however_it_ends(tmp_path: Path, holder: Holder) -> None:
    other = holder(tmp_path / "lock")
    assert take_lock(tmp_path / "lock") is None
    assert holder_of(tmp_path / "lock") == f"process {other.pid} on {socket.gethostname()}"

    other.kill()
    other.communicate()

    lock = take_lock(tmp_path / "lock")
    assert lock is not None
    lock.release()


@everywhere
def test_a_file_stands_in_for_a_lock_where_there_is_none_and_that_is_said(
    without_locks: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lock = take_lock(tmp_path / "lock")

    assert lock is not None
    assert f"has no locks ({os.strerror(without_locks)})" in caplog.text
    assert take_lock(tmp_path / "lock") is None
    told = holder_of(tmp_path / "lock")
    assert told.startswith(f"process {os.getpid()} on ")
    assert told.endswith(f"if that is dead, remove {tmp_path / 'lock.stand-in'}")

    lock.release()
    again = take_lock(tmp_path / "lock")
    assert again is not None
    again.release()
    assert not (tmp_path / "lock.stand-in").exists()


@everywhere
def test_the_stand_in_of_a_dead_process_is_taken_over(without_locks: int, tmp_path: Path, holder: Holder) -> None:
    other = holder(tmp_path / "lock", without_locks)
    assert take_lock(tmp_path / "lock") is None

    other.kill()
    other.communicate()

    lock = take_lock(tmp_path / "lock")
    assert lock is not None
    lock.release()


@posix
def test_who_sees_locks_respects_the_stand_in_of_who_does_not(tmp_path: Path, holder: Holder) -> None:
    other = holder(tmp_path / "lock", errno.ENOLCK)

    assert take_lock(tmp_path / "lock") is None

    other.kill()
    other.communicate()
    lock = take_lock(tmp_path / "lock")
    assert lock is not None
    lock.release()


@posix
def test_another_error_of_locking_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", broken)

    with (
        pytest.raises(OutputError, match=r"out: cannot be written: Input/output error.*check the disk"),
        OutputFolder(tmp_path / "out", "x").locked(),
    ):
        pytest.fail("the lock was not taken")


def test_a_disk_too_full_for_the_lock_is_named_with_the_remedy_and_leaves_no_lock(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path / "out", "x")

    with (
        full_disk(after_bytes=0),
        pytest.raises(OutputError, match=r"out: no room left to write .*free some space"),
        folder.locked(),
    ):
        pytest.fail("the lock was not written")

    with folder.locked():
        pass


@everywhere
def test_a_disk_too_full_for_the_stand_in_is_named_with_the_remedy(without_locks: int, tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path / "out", "x")

    with full_disk(after_bytes=0), pytest.raises(OutputError, match="no room left to write"), folder.locked():
        pytest.fail("the lock was not written")

    with folder.locked():
        pass
