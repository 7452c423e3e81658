"""The contract of ROI sources: a slide's metadata in, its regions of interest out."""

from __future__ import annotations

from abc import ABC, abstractmethod

from slideloom.slides.info import SlideInfo
from slideloom.slides.regions import Regions


class RoiSource(ABC):
    """Finds the regions of interest of a slide."""

    @abstractmethod
    def regions(self, info: SlideInfo) -> Regions | None:
        """The slide's regions, or None if the source has nothing for this slide.

        Raises:
            RoiError: there is a file for this slide, but it cannot be parsed.
        """
