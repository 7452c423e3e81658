"""Names of options in messages, as the reader of a message writes options: as flags, as arguments, or in a file.

Code far below a front says `option_name("slides", "mpp_file")`, and the front that runs it has said before how its
options are written: `--mpp-file` on the command line, `mpp_file` in Python, `slides.mpp_file` in a pipeline file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol


class Naming(Protocol):
    """How one front writes the core's own options."""

    def option(self, table: str, name: str) -> str:
        """The option `name` of a table of pipeline files, such as "--mpp-file"."""

    def given(self, table: str, name: str, value: Any) -> str:
        """The option with a value, such as "--jobs 1"."""


class _Plain:
    """Arguments of functions."""

    def option(self, _table: str, name: str) -> str:
        return name

    def given(self, _table: str, name: str, value: Any) -> str:
        return f"{name}={value!r}"


_PLAIN: Naming = _Plain()
_front: ContextVar[Naming] = ContextVar("slideloom_naming", default=_PLAIN)


@contextmanager
def naming(front: Naming | None, *, is_last: bool = False) -> Iterator[None]:
    """Within it, messages name options as `front` does; None leaves it as it is, and so does one that `is_last`.

    Args:
        front: how options are written.
        is_last: it only speaks if no other front does.
    """
    if front is None or (is_last and _front.get() is not _PLAIN):
        yield
        return
    token = _front.set(front)
    try:
        yield
    finally:
        _front.reset(token)


def option_name(table: str, name: str) -> str:
    """How the reader of a message writes an option, such as "--mpp-file"."""
    return _front.get().option(table, name)


def option_given(table: str, name: str, value: Any) -> str:
    """How the reader of a message gives an option this value, such as "--jobs 1", "jobs=1" or "run.jobs = 1"."""
    return _front.get().given(table, name, value)
