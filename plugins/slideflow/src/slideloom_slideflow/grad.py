"""Slideflow's module of this name, which slideloom has nothing of: importing it says what to use."""

from __future__ import annotations

from slideloom_slideflow.adapting import MissingModule, refuse

refuse("grad", kind=MissingModule)
