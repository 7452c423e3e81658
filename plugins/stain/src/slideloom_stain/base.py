"""What every method with a target can do: measure an image, and bring an image with known statistics to a fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np
from slideloom import Rgb

from slideloom_stain.fits import FAMILIES, StainFit
from slideloom_stain.opencv import cv2

StatisticsT = TypeVar("StatisticsT")
FitT = TypeVar("FitT", bound=StainFit)

# What an image is brought to: a fit, or one that depends on the image's own statistics. Any: each method has its own.
Goal = StainFit | Callable[[Any], StainFit]

MAX_FIT_PX = 2048  # larger target images are reduced to this before they are measured


class Method(ABC, Generic[StatisticsT, FitT]):
    """One way to normalize staining. Has no state besides its options; may be called from several threads at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.family = FAMILIES[name]

    @abstractmethod
    def measure(self, rgb: Rgb) -> StatisticsT:
        """The statistics that `render` needs, of a tile or of a slide's context pixels.

        Args:
            rgb: (h, w, 3) uint8.

        Raises:
            Unfit: they cannot be estimated.
        """

    @abstractmethod
    def fit_of(self, statistics: StatisticsT) -> FitT:
        """The fit that an image with these statistics is the goal of."""

    @abstractmethod
    def render(self, rgb: Rgb, statistics: StatisticsT, fit: FitT, out: Rgb | None = None) -> Rgb:
        """An image with these statistics, brought to the fit.

        Args:
            rgb: (h, w, 3) uint8; left alone.
            statistics: of the image itself or of its slide.
            fit: the goal.
            out: where to write the result, contiguous; by default a new array.

        Returns:
            (h, w, 3) uint8.
        """

    def normalize(self, rgb: Rgb, goal: Goal, out: Rgb | None = None) -> Rgb:
        """An image brought to the goal by its own statistics.

        Raises:
            Unfit: they cannot be estimated.
        """
        statistics = self.measure(rgb)
        return self.render(rgb, statistics, goal_of(goal, statistics), out)

    def fit_image(self, rgb: Rgb) -> FitT:
        """The fit of a target image, which is reduced to at most 2048 pixels a side.

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
