"""The user's script, which multiprocessing runs again in each spawned process.

Our workers run it only if they must, that is, if the script itself defines something that the pipeline uses. Then the
script needs a main guard, as always with Python's multiprocessing. Without one, the script's copy ends as soon as it
reaches a run, and the run explains what to write.
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
from slideloom.base.naming import option_given

_COPY = "__mp_main__"  # the name that multiprocessing gives to the script in a spawned process
UNGUARDED = 113  # exit code of a worker whose copy of the script reached a run
WORKER = "slideloom-worker"

_GUARD = """
    def main():
        ...  # what the script does

    if __name__ == "__main__":
        main()"""


def unguarded(script: str) -> str:
    """The message for a script without a main guard."""
    return f"{script} has no main guard, and each new process runs it again; write what it does like this:{_GUARD}"


def script_name() -> str:
    """The name of this process's script, for messages."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    return Path(file).name if file else "the script"


def end_copy() -> None:
    """End this process if it is running a copy of the script, so that nothing is done twice. Called when a run begins.

    Raises:
        SystemExit: this is a copy. Our own workers end without a message, because the run that started them gives one.
    """
    for frame, _ in walk_stack(None):
        if frame.f_globals.get("__name__") == _COPY and frame.f_code.co_name == "<module>":
            script = Path(frame.f_code.co_filename).name
            raise SystemExit(UNGUARDED if current_process().name == WORKER else f"slideloom: {unguarded(script)}")


def needs_script(*values: Any) -> bool:
    """True if these values use or name something that the script defines.

    Raises:
        ConfigError: the values cannot be sent to another process.
    """
    try:
        return b"__main__" in bytes(ForkingPickler.dumps(values))
    except Exception as error:  # pickling calls third-party code
        raise ConfigError(
            f"the pipeline cannot be sent to another process: {error}; define its steps at the top of a module, "
            f"or use {option_given('run', 'jobs', 1)}"
        ) from error


@contextmanager
def script_for_workers(*, is_needed: bool) -> Iterator[None]:
    """Processes started within it run the script again only if that is needed, and possible."""
    script = sys.modules["__main__"]
    file = getattr(script, "__file__", None)
    # Standard input has the name "<stdin>" but cannot be read twice; a notebook has no name.
    if is_needed and (script.__spec__ is not None or (file is not None and Path(file).exists())):
        yield
        return
    sys.modules["__main__"] = _Nameless(script)
    try:
        yield
    finally:
        sys.modules["__main__"] = script


class _Nameless(ModuleType):
    """The main module without its file, so that multiprocessing finds nothing to run again.

    It still has all names of the module, for other threads that may be pickling at the same time.
    """

    def __init__(self, module: ModuleType) -> None:
        super().__init__(module.__name__)
        self.__file__ = None
        self._module = module

    def __getattr__(self, name: str) -> Any:  # Any: a module attribute of any kind
        return getattr(self._module, name)
