"""The WebDataset sink."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Settings, Sink, hookimpl

from slideloom_webdataset.settings import WebDataset


@hookimpl
def slideloom_sinks() -> Sequence[type[Settings[Sink]]]:
    """The sink."""
    return [WebDataset]
