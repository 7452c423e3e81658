"""The script that started a run, and its copies: a process that is spawned runs the script again before it works.

Workers of this package do so only where they need to, which is where the script itself defines what the pipeline uses.
Then the script needs a main guard, as Python's multiprocessing asks for; where it has none, its copy ends as soon as it
comes to a run, and the run says what to write.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import current_process
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from traceback import walk_stack
from types import ModuleType
from typing import Any

from slideloom.base.errors import ConfigError

_COPY = "__mp_main__"  # the name that multiprocessing gives to the script in a spawned process
UNGUARDED = 113  # exit code of a worker whose copy of the script came to a run
WORKER = "slideloom-worker"

_GUARD = """
    def main():
        ...  # what the script does

    if __name__ == "__main__":
        main()"""


def unguarded(script: str) -> str:
    """What to say of a script without a main guard."""
    return f"{script} has no main guard, and each new process runs it again; write what it does like this:{_GUARD}"


def script_name() -> str:
    """The script of this process, in words."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    return Path(file).name if file else "the script"


def end_copy() -> None:
    """End this process if it runs a copy of the script, so that nothing is done twice; called where a run begins.

    Raises:
        SystemExit: it does. A worker of ours ends without a word, as the run that started it knows why.
    """
    for frame, _ in walk_stack(None):
        if frame.f_globals.get("__name__") == _COPY and frame.f_code.co_name == "<module>":
            script = Path(frame.f_code.co_filename).name
            raise SystemExit(UNGUARDED if current_process().name == WORKER else f"slideloom: {unguarded(script)}")


def needs_script(*values: Any) -> bool:
    """True if the script defines something that these values are made of, or they name it.

    Raises:
        ConfigError: they cannot be sent to another process.
    """
    try:
        return b"__main__" in bytes(ForkingPickler.dumps(values))
    except Exception as error:  # what pickling calls is anybody's code
        raise ConfigError(
            f"the pipeline cannot be sent to another process: {error}; define its steps at the top of a module, "
            "or use jobs=1"
        ) from error


@contextmanager
def script_for_workers(*, is_needed: bool) -> Iterator[None]:
    """Processes started within it run the script again only if that is needed, and possible."""
    script = sys.modules["__main__"]
    file = getattr(script, "__file__", None)
    # Standard input has a name, "<stdin>", and cannot be read twice; a notebook has none.
    if is_needed and (script.__spec__ is not None or (file is not None and Path(file).exists())):
        yield
        return
    sys.modules["__main__"] = _Nameless(script)
    try:
        yield
    finally:
        sys.modules["__main__"] = script


class _Nameless(ModuleType):
    """A module as it is, but for where it comes from: multiprocessing finds nothing to run again.

    Other threads, which may be pickling just now, find all that is in it.
    """

    def __init__(self, module: ModuleType) -> None:
        super().__init__(module.__name__)
        self.__file__ = None
        self._module = module

    def __getattr__(self, name: str) -> Any:  # Any: a module attribute of any kind
        return getattr(self._module, name)
