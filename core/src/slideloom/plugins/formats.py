"""What the installed formats know of a file, asked one after the other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

from slideloom.base.errors import PluginError, SlideloomError
from slideloom.base.system_errors import in_words
from slideloom.steps.format import Format

KnownT = TypeVar("KnownT")


class Formats:
    """The installed formats, in the order of their plugins.

    What the system says of a file is raised as it is; any other error of a format is a `PluginError` that names it.
    """

    def __init__(self, formats: Sequence[Format]) -> None:
        self._formats = tuple(formats)

    def refusal(self, path: Path, *, readers_say_more: bool) -> str | None:
        """Why no reader takes a file, by the formats that leave the first word to readers, or by the others."""
        asked = [each for each in self._formats if each.readers_say_more == readers_say_more]
        return _first(asked, path, lambda each: each.refusal(path))

    def advice(self, path: Path, readers: Collection[str]) -> str | None:
        """What a file is that no reader takes, and what would read it."""
        return _first(self._formats, path, lambda each: each.advice(path, readers))


def _first(formats: Sequence[Format], path: Path, ask: Callable[[Format], KnownT | None]) -> KnownT | None:
    """The first answer that is not None."""
    for each in formats:
        try:
            answer = ask(each)
        except (SlideloomError, OSError):
            raise
        except Exception as error:
            where = f"format '{each.name}' of {type(each).__module__}"
            raise PluginError(f"{where} failed on {path.name}: {in_words(error)}") from error
        if answer is not None:
            return answer
    return None
