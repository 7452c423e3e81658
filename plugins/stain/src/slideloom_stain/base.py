"""The interface of every method with a target: measure an image, and bring an image with known statistics to a fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np
from slideloom import Rgb

from slideloom_stain.fastest import FASTEST
from slideloom_stain.fits import FAMILIES, StainFit
from slideloom_stain.loops import Loops
from slideloom_stain.opencv import cv2

StatisticsT = TypeVar("StatisticsT")
FitT = TypeVar("FitT", bound=StainFit)

# What an image is normalized to: a fit, or one that depends on its own statistics. Any: each method has its own.
Goal = StainFit | Callable[[Any], StainFit]

MAX_FIT_PX = 2048  # longer side of a target image; larger ones are shrunk before they are measured


class Method(ABC, Generic[StatisticsT, FitT]):
    """One way to normalize staining. Its only state is its options, so it is thread-safe."""

    loops: Loops = FASTEST  # of the class: what was compiled does not belong to a method's state

    def __init__(self, name: str) -> None:
        self.name = name
        self.family = FAMILIES[name]

    @abstractmethod
    def measure(self, rgb: Rgb) -> StatisticsT:
        """The statistics that `render` needs, from the pixels of a tile or of a whole slide.

        Args:
            rgb: (h, w, 3) uint8.

        Raises:
            Unfit: the statistics cannot be estimated.
        """

    @abstractmethod
    def fit_of(self, statistics: StatisticsT) -> FitT:
        """The fit whose target image has these statistics."""

    @abstractmethod
    def render(self, rgb: Rgb, statistics: StatisticsT, fit: FitT, out: Rgb | None = None) -> Rgb:
        """An image normalized to the fit.

        Args:
            rgb: (h, w, 3) uint8; not changed.
            statistics: statistics of the image itself or of its slide.
            fit: target values.
            out: where to write the result, contiguous; by default a new array.

        Returns:
            (h, w, 3) uint8.
        """

    def normalize(self, rgb: Rgb, goal: Goal, out: Rgb | None = None) -> Rgb:
        """An image normalized to the goal by its own statistics; arguments and result as for `render`.

        Raises:
            Unfit: its statistics cannot be estimated.
        """
        statistics = self.measure(rgb)
        return self.render(rgb, statistics, goal_of(goal, statistics), out)

    def fit_image(self, rgb: Rgb) -> FitT:
        """The fit of a target image, which is shrunk to at most 2048 pixels along the longer side.

        Raises:
            Unfit: its stains cannot be estimated.
        """
        longest = max(rgb.shape[:2])
        if longest > MAX_FIT_PX:
            size = (max(1, rgb.shape[1] * MAX_FIT_PX // longest), max(1, rgb.shape[0] * MAX_FIT_PX // longest))
            rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        return self.fit_of(self.measure(np.ascontiguousarray(rgb)))


def goal_of(goal: Goal, statistics: Any) -> Any:  # Any: a fit of the method's own kind
    """The fit that an image with these statistics is brought to."""
    return goal if isinstance(goal, StainFit) else goal(statistics)
