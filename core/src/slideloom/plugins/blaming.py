"""Turns errors in a step into errors that name step, plugin and slide."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from slideloom.base.errors import OutputError, PluginError, SlideloomError
from slideloom.base.system_errors import in_words, writing_trouble
from slideloom.plugins.discovery import registry
from slideloom.plugins.given_steps import GivenStep
from slideloom.settings.options import Settings


@contextmanager
def blaming(step: Settings[Any], kind: str, slide: str) -> Iterator[None]:
    """Within it, an error that is not ours becomes a `PluginError` that names step, plugin and slide.

    So does `SystemExit`: no step may end the process, with the other slides in it. Only the user's interrupt passes.
    What the system refuses to a sink is an `OutputError` with the remedy: the disk is to blame.
    """
    try:
        yield
    except (SlideloomError, KeyboardInterrupt):
        raise
    except BaseException as error:
        said = f"{called(step, kind)} failed on slide {slide}"
        if kind == "sink" and isinstance(error, OSError) and error.errno is not None:
            raise OutputError(f"{said}: {writing_trouble(error, at=error.filename or 'its output')}") from error
        raise PluginError(f"{said}: {in_words(error)}") from error


def called(step: Settings[Any], kind: str) -> str:
    """A step with where it comes from: "qc 'otsu' of slideloom-qc 0.1.0", or the class of an object."""
    if isinstance(step, GivenStep):
        return f"{kind} '{step.label}' ({step.given.told})"
    owner = registry().owner(type(step))
    return f"{kind} '{step.name}' of {owner.dist} {owner.version}"
