"""Contracts: what every step of a kind must do, as test classes to subclass.

    class TestWhitespace(TileFilterContract):
        settings = Whitespace()

That is a complete test file. If settings need files, make them in an autouse fixture that assigns `self.settings`.
Some attributes of a contract are meant to be overridden, such as `tile_px`; each class lists its own.
"""

from __future__ import annotations

import pytest

_MODULES = ("base", "batches", "executors", "formats", "readers", "sinks", "slides")
# So that a failed assert shows its values, even in modules that are not test files.
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _MODULES))

from slideloom_testing.contracts.base import SettingsContract  # noqa: E402 - after the registration above
from slideloom_testing.contracts.batches import NormalizerContract, TileFilterContract  # noqa: E402
from slideloom_testing.contracts.executors import ExecutorContract  # noqa: E402
from slideloom_testing.contracts.formats import FormatContract  # noqa: E402
from slideloom_testing.contracts.readers import ReaderContract  # noqa: E402
from slideloom_testing.contracts.sinks import SinkContract  # noqa: E402
from slideloom_testing.contracts.slides import (  # noqa: E402
    PlacementContract,
    RoiSourceContract,
    SlideQcContract,
)

__all__ = [
    "ExecutorContract",
    "FormatContract",
    "NormalizerContract",
    "PlacementContract",
    "ReaderContract",
    "RoiSourceContract",
    "SettingsContract",
    "SinkContract",
    "SlideQcContract",
    "TileFilterContract",
]
