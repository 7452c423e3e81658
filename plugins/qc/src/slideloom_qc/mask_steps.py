"""Anybody's masks as slide QC and as source of regions."""

from __future__ import annotations

import numpy as np
from slideloom import (
    ConfigError,
    Mask,
    QcResult,
    Region,
    Regions,
    RoiError,
    RoiSource,
    Scene,
    Slide,
    SlideError,
    SlideInfo,
    SlideQc,
    mask_polygons,
    qc_classes,
)

from slideloom_qc.mask_placing import PlacedMask, as_numbers, class_names, mask_of, nonzero, without_mask
from slideloom_qc.settings import MaskFiles, MaskRegions


class MaskFilesQc(SlideQc):
    """Discards what the slide's mask says."""

    def __init__(self, settings: MaskFiles) -> None:
        settings.check()
        self._settings = settings
        self._names = class_names(settings)
        try:
            self._classes = qc_classes(list(self._names.values())) if self._names else ()
        except ValueError as error:
            raise ConfigError(f"qc 'mask-files': {error}") from error

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """The mask of the slide.

        Raises:
            SlideError: there is none, or it does not fit the slide, or holds values that have no name.
        """
        settings, info = self._settings, slide.info
        mask = mask_of(settings, info)
        if mask is None:
            missing = without_mask(settings, info)
            if settings.missing == "error":
                raise SlideError(f'{info.path.name}: {missing}; or set missing = "count"')
            nothing = np.zeros((1, 1), np.bool_)
            return QcResult(nothing, settings.kind, None, {"missing": 1.0}, (f"{missing}: nothing is discarded",))
        if self._classes:
            numbers = as_numbers(mask, self._names)
            return QcResult.of_labels(numbers, self._classes, extent=mask.extent, notes=mask.notes)
        found = nonzero(mask)
        discarded = found if settings.nonzero == "discard" else ~found
        return QcResult(discarded, settings.kind, extent=mask.extent, notes=mask.notes)


class MaskRegionsSource(RoiSource):
    """Regions along the borders of the pixels of a mask."""

    def __init__(self, settings: MaskRegions) -> None:
        settings.check()
        self._settings = settings
        self._names = class_names(settings)

    def regions(self, info: SlideInfo) -> Regions | None:
        """One region, with its holes, for each connected area of each class; without classes, of what is not zero.

        Raises:
            RoiError: there is no mask where one must be, or it does not fit the slide, or holds values without a name.
        """
        settings = self._settings
        try:
            mask = mask_of(settings, info)
            if mask is None:
                if settings.missing == "error":
                    raise SlideError(f"{info.path.name}: {without_mask(settings, info)}")
                return None
            items, left_out = self._regions(mask, info)
        except SlideError as error:
            raise RoiError(str(error)) from error
        notes = mask.notes
        if left_out:
            notes = (*notes, f"{left_out} areas below {settings.min_area_um2:g} um2 are left out")
        return Regions(items=tuple(items), notes=notes, source=str(mask.path))

    def _regions(self, mask: PlacedMask, info: SlideInfo) -> tuple[list[Region], int]:
        settings = self._settings
        parts: list[tuple[str | None, Mask]]
        if self._names:
            # Zero is nothing unless it has a name.
            known = self._names if 0 in self._names else {0: "", **self._names}
            numbers = as_numbers(mask, known)
            parts = [(name, numbers == rank) for rank, name in enumerate(known.values()) if name]
        else:
            parts = [(settings.region_label, nonzero(mask))]
        least, least_um2 = 0.0, settings.min_area_um2
        if least_um2:
            if info.mpp is None:
                raise SlideError(f"{info.path.name}: min_area_um2 needs the slide's microns per pixel")
            least = least_um2 / (info.mpp.x * info.mpp.y)
        items: list[Region] = []
        left_out = 0
        for name, where in parts:
            for shape in mask_polygons(where, extent=mask.extent, most_px=None):
                if shape.area < least:
                    left_out += 1
                else:
                    items.append(Region(f"{name or 'region'} {len(items) + 1}", shape, name))
        return items, left_out
