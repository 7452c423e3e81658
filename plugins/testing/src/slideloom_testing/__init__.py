"""For plugin authors: contracts that every step must pass, slides with known pixels, and a demo slide.

Names are imported at first use. pytest is needed only for the contracts and fixtures, and pyvips only to write the demo
slide.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "contracts": (
        "ExecutorContract", "NormalizerContract", "PlacementContract", "ReaderContract", "RoiSourceContract",
        "SettingsContract", "SinkContract", "SlideQcContract", "TileFilterContract",
    ),
    "remote": ("BytesAt",),
    "slides": ("Analytic", "AnalyticReader", "AnalyticSlide", "PixelsSlide", "write_analytic"),
    "tiles": (
        "batch_of", "info_of", "join", "scene_of", "smooth_noise", "stained", "take", "tiles_of", "varied_batch",
    ),
    "tissue": (
        "DEMO_SIZE", "DemoSlide", "DemoTruth", "load_truth", "save_truth", "write_demo_rois", "write_demo_slide",
    ),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605 - computed from the table above

if TYPE_CHECKING:
    from slideloom_testing.contracts import (
        ExecutorContract as ExecutorContract,
        NormalizerContract as NormalizerContract,
        PlacementContract as PlacementContract,
        ReaderContract as ReaderContract,
        RoiSourceContract as RoiSourceContract,
        SettingsContract as SettingsContract,
        SinkContract as SinkContract,
        SlideQcContract as SlideQcContract,
        TileFilterContract as TileFilterContract,
    )
    from slideloom_testing.remote import BytesAt as BytesAt
    from slideloom_testing.slides import (
        Analytic as Analytic,
        AnalyticReader as AnalyticReader,
        AnalyticSlide as AnalyticSlide,
        PixelsSlide as PixelsSlide,
        write_analytic as write_analytic,
    )
    from slideloom_testing.tiles import (
        batch_of as batch_of,
        info_of as info_of,
        join as join,
        scene_of as scene_of,
        smooth_noise as smooth_noise,
        stained as stained,
        take as take,
        tiles_of as tiles_of,
        varied_batch as varied_batch,
    )
    from slideloom_testing.tissue import (
        DEMO_SIZE as DEMO_SIZE,
        DemoSlide as DemoSlide,
        DemoTruth as DemoTruth,
        load_truth as load_truth,
        save_truth as save_truth,
        write_demo_rois as write_demo_rois,
        write_demo_slide as write_demo_slide,
    )


def __getattr__(name: str) -> Any:  # Any: a module attribute of any kind
    if name not in _HOME_OF:
        raise AttributeError(f"module 'slideloom_testing' has no attribute {name!r}")
    return getattr(import_module(f"slideloom_testing.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
