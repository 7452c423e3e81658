"""Keeps standard output for one JSON document, whatever else is printed."""

from __future__ import annotations

import atexit
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO

_STDOUT, _STDERR = 1, 2  # the operating system's file descriptors

Json = Mapping[str, Any] | list[Any]

# Documents that wait until nothing else is printed; None outside `standard_output_for_json`.
_waiting: list[Json] | None = None


def print_json(value: Json) -> None:
    """Print a value as JSON on standard output; within `standard_output_for_json`, at its end."""
    if _waiting is None:
        _write(value, sys.stdout)
    else:
        _waiting.append(value)


@contextmanager
def standard_output_for_json() -> Iterator[None]:
    """Within it, everything that steps and libraries print goes to standard error, even in native code and workers."""
    global _waiting  # noqa: PLW0603 - a process has one standard output
    stdout, _waiting = sys.stdout, []
    try:
        with _descriptor_on_stderr(), redirect_stdout(sys.stderr):
            yield
        for value in _waiting:
            _write(value, stdout)
    finally:
        _waiting = None


def _write(value: Json, stdout: TextIO) -> None:
    from slideloom.base.storing import utf8  # not needed to start the command

    takes_any_text = (stdout.encoding or "utf-8").lower().replace("-", "") == "utf8"
    stdout.write(utf8(json.dumps(value, indent=2, ensure_ascii=not takes_any_text)).decode() + "\n")


@contextmanager
def _descriptor_on_stderr() -> Iterator[None]:
    try:
        kept = os.dup(_STDOUT)
    except OSError:  # it is closed: nobody can print to it
        yield
        return
    try:
        _flush_stdout()
        os.dup2(_STDERR, _STDOUT)
        yield
    finally:
        _flush_stdout()  # what was printed by native code, and by code that holds its own reference to the stream
        os.dup2(kept, _STDOUT)
        os.close(kept)


def _flush_stdout() -> None:
    """Write out what waits in buffers: Python's, and the C library's, which would write it whenever it is full."""
    import ctypes  # not needed to start the command

    sys.stdout.flush()
    library = ctypes.CDLL("ucrtbase" if os.name == "nt" else None)
    library.fflush(None)


def end_output_with_process() -> None:
    """What libraries print as the process ends is no output of the command: it goes to standard error.

    Nothing changes before then, so that a program which calls the command goes on with its own standard output.
    """
    atexit.register(end_output)  # called before all that are registered already


def end_output() -> None:
    """Send standard output to standard error from now on."""
    try:
        _flush_stdout()
        os.dup2(_STDERR, _STDOUT)
    except (OSError, ValueError):  # one of them is closed, or its reader is gone
        return
