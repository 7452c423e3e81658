"""Slideflow's names for slide processing, done by slideloom: `import slideloom_slideflow as sf`.

Functions and arguments do what they do in Slideflow 3.0.2, say what they do otherwise, or refuse by name; the table
in docs/how-to/migrate-from-slideflow.md lists all of them. Nothing of Slideflow is imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from slideloom import __version__ as __version__

_HOMES = {
    "Dataset": "dataset",
    "DropInWarning": "adapting",
    "ModelParams": "model",
    "NotOffered": "adapting",
    "Project": "project",
    "TFRecord": "tfrecord",
    "WSI": "slide.wsi",
    "about": "telling",
    "create_project": "project",
    "getLoggingLevel": "telling",
    "load_project": "project",
    "log": "telling",
    "setLoggingLevel": "telling",
}
_MODULES = ("model", "norm", "slide", "tfrecord")

__all__ = [*sorted(_HOMES), *_MODULES]  # noqa: PLE0604 - computed from the table above

if TYPE_CHECKING:
    from slideloom_slideflow import model as model, norm as norm, slide as slide, tfrecord as tfrecord
    from slideloom_slideflow.adapting import DropInWarning as DropInWarning, NotOffered as NotOffered
    from slideloom_slideflow.dataset import Dataset as Dataset
    from slideloom_slideflow.model import ModelParams as ModelParams
    from slideloom_slideflow.project import (
        Project as Project,
        create_project as create_project,
        load_project as load_project,
    )
    from slideloom_slideflow.slide.wsi import WSI as WSI
    from slideloom_slideflow.telling import (
        about as about,
        getLoggingLevel as getLoggingLevel,
        log as log,
        setLoggingLevel as setLoggingLevel,
    )
    from slideloom_slideflow.tfrecord import TFRecord as TFRecord


def __getattr__(name: str) -> Any:  # Any: a module attribute of any kind
    if name in _HOMES:
        return getattr(import_module(f"slideloom_slideflow.{_HOMES[name]}"), name)
    if name in _MODULES:
        return import_module(f"slideloom_slideflow.{name}")
    from slideloom_slideflow.adapting import refuse
    from slideloom_slideflow.table import rows

    if name in rows():
        refuse(name)
    raise AttributeError(f"module 'slideloom_slideflow' has no attribute {name!r}")
