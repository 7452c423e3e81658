"""Macenko et al. 2009, "A method for normalizing histology slides for quantitative analysis", ISBI, 1107-1110.

The stain colours of an image are the two extreme directions of its optical densities within the plane of the two main
eigenvectors; concentrations are found by least squares. All sizes and constants: docs/explanation/stain.md.
"""

from __future__ import annotations

import math

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import Rgb

from slideloom_stain.base import Method
from slideloom_stain.density import (
    MIN_TISSUE_PX,
    TISSUE_DENSITY,
    Floats,
    Table,
    as_bytes,
    brightness_table,
    density_table,
    lookup,
    upper_percentile,
)
from slideloom_stain.fits import MacenkoFit, Unfit
from slideloom_stain.opencv import cv2
from slideloom_stain.scratch import scratch

ANGLE_PERCENTILE = 1.0  # and 99
STRENGTH_PERCENTILE = 99.0
# Below this angle the two stain vectors are the same stain: least squares would amplify noise twentyfold.
MIN_ANGLE_DEGREES = 3.0
# A weaker 99th percentile of concentrations would be scaled up more than tenfold.
MIN_STRENGTH = 0.1
_AHEAD = 1e-6
_LOG_WHITE = math.log(255.0)
_HIGHEST_LOG = 20.0  # far above white; its exponential still fits an integer
_TISSUE_TO_NOTHING = np.zeros(256, np.float32)
_TISSUE_TO_NOTHING[0] = -np.inf  # for a mask of 255 where there is tissue
_TISSUE_TO_ONE = np.zeros(256, np.float32)
_TISSUE_TO_ONE[255] = 1


@frozen
class MacenkoStatistics:
    """Statistics of an image for Macenko's method.

    Attributes:
        brightness: (256,) the new value of each uint8 value, applied first.
        density: (256,) float32, the optical density of each value after that.
        stains: stain matrix (3, 2), rows R, G, B, columns haematoxylin and eosin, unit length.
        unmix: (2, 3), the pseudo-inverse of the stain matrix, which gives concentrations from densities.
        strengths: (2,), the 99th percentile of each stain's concentration.
    """

    brightness: Table = field(eq=False)
    density: Floats = field(eq=False)
    stains: NDArray[np.float64] = field(eq=False)
    unmix: NDArray[np.float64] = field(eq=False)
    strengths: NDArray[np.float64] = field(eq=False)


class Macenko(Method[MacenkoStatistics, MacenkoFit]):
    """`macenko`, and `macenko-fast` without the brightness step."""

    def __init__(self, name: str, *, standardise: bool) -> None:
        super().__init__(name)
        self.standardise = standardise

    def measure(self, rgb: Rgb) -> MacenkoStatistics:
        """See `Method.measure`."""
        brightness = brightness_table(rgb, standardise=self.standardise)
        table = density_table(brightness)
        density_of = table.astype(np.float32)
        density = _density_planes(rgb, density_of)
        # Density falls as the value rises, so "every channel at least this dense" means "no channel above a value".
        brightest = int(np.count_nonzero(table >= TISSUE_DENSITY)) - 1
        tissue = cv2.inRange(rgb, (0, 0, 0), (brightest,) * 3)
        count = cv2.countNonZero(tissue) if brightest >= 0 else 0
        if count < MIN_TISSUE_PX:
            raise Unfit(f"{count} pixels of tissue, at least {MIN_TISSUE_PX} are needed")
        stains = _stains(density, tissue, count)
        unmix = np.asarray(np.linalg.pinv(stains), np.float64)
        strengths = _strengths(density, unmix)
        if strengths.min() < MIN_STRENGTH:
            raise Unfit(f"stain strengths {strengths.round(3).tolist()}, at least {MIN_STRENGTH} are needed")
        return MacenkoStatistics(brightness, density_of, stains, unmix, strengths)

    def fit_of(self, statistics: MacenkoStatistics) -> MacenkoFit:
        """See `Method.fit_of`."""
        return MacenkoFit(statistics.stains, statistics.strengths)

    def render(self, rgb: Rgb, statistics: MacenkoStatistics, fit: MacenkoFit, out: Rgb | None = None) -> Rgb:
        """See `Method.render`: one 3 x 3 matrix maps the densities, and the exponential turns them into pixels."""
        density = lookup(rgb, statistics.density, scratch("density", rgb.shape))
        scaled = fit.stain_matrix_target * (fit.target_concentrations / statistics.strengths)
        through = -scaled @ statistics.unmix
        value = cv2.transform(density, np.column_stack([through, np.full(3, _LOG_WHITE)]), scratch("value", rgb.shape))
        if _LOG_WHITE + np.maximum(through, 0).sum(axis=1).max() * statistics.density[0] > _HIGHEST_LOG:
            cv2.min(value, (_HIGHEST_LOG,) * 4, value)
        return as_bytes(cv2.exp(value, value), out)


def _density_planes(rgb: Rgb, density_of: Floats) -> Floats:
    """(3, h, w) the density of each channel; sums and percentiles are fastest on planes."""
    planes = np.asarray(scratch("density", (3, *rgb.shape[:2])), np.float32)
    for channel, plane in zip(cv2.split(rgb), planes, strict=True):
        lookup(channel, density_of, plane)
    return planes


def _stains(density: Floats, tissue: NDArray[np.uint8], count: int) -> NDArray[np.float64]:
    """The stain matrix (3, 2) of the densities (3, h, w) of the `count` pixels where `tissue` is 255."""
    plane = _principal_plane(density, tissue, count)
    along, across = _project(density, plane)
    if cv2.minMaxLoc(along, tissue)[0] > _AHEAD:
        # The slope increases with the angle and costs far less to compute.
        slope, to_angle = cv2.divide(across, cv2.max(along, _AHEAD, along), across), math.atan
    else:
        slope, to_angle = np.arctan2(across, along), float
    nothing = lookup(tissue, _TISSUE_TO_NOTHING, scratch("weight", tissue.shape))
    percent = 100 - ANGLE_PERCENTILE
    risen, fallen = cv2.add(nothing, slope, along).ravel(), cv2.subtract(nothing, slope, nothing).ravel()
    high = upper_percentile(risen, count=count, percent=percent, transform=to_angle)
    low = -upper_percentile(fallen, count=count, percent=percent, transform=to_angle)
    if high - low < math.radians(MIN_ANGLE_DEGREES):
        raise Unfit(f"only one stain: both colours lie within {math.degrees(high - low):.1f} degrees")
    ends: NDArray[np.float64] = plane @ np.array([[math.cos(low), math.cos(high)], [math.sin(low), math.sin(high)]])
    # Haematoxylin absorbs more red light than eosin.
    return ends if ends[0, 0] > ends[0, 1] else ends[:, ::-1]


def _principal_plane(density: Floats, tissue: NDArray[np.uint8], count: int) -> NDArray[np.float64]:
    """(3, 2) the two main directions of the tissue's densities; the first points towards higher density."""
    weight = lookup(tissue, _TISSUE_TO_ONE, scratch("weight", tissue.shape)).ravel()
    centred = np.asarray(scratch("value", (3, weight.size)), np.float32)
    for plane, values in zip(density, centred, strict=True):
        # einsum and not dot: the order in which BLAS sums depends on its number of threads.
        np.subtract(plane.ravel(), np.einsum("i,i", plane.ravel(), weight) / count, out=values)
        np.multiply(values, weight, out=values)
    covariance = np.zeros((3, 3))
    for row, column in ((0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)):
        covariance[row, column] = np.einsum("i,i", centred[row], centred[column])
    main: NDArray[np.float64] = np.linalg.eigh(covariance)[1][:, :0:-1]  # of the lower triangle, largest first
    main[:, 0] *= 1 if main[:, 0].sum() >= 0 else -1
    return main


def _project(density: Floats, basis: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """The densities (3, h, w) projected on each column of `basis` (3, 2), both (h, w)."""
    along = np.asarray(scratch("value", (2, *density.shape[1:])), np.float32)
    for column, out in zip(basis.T.tolist(), along, strict=True):
        cv2.addWeighted(density[0], column[0], density[1], column[1], 0, out)
        cv2.scaleAdd(density[2], column[2], out, out)
    return along[0], along[1]


def _strengths(density: Floats, unmix: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2,) the 99th percentile of each stain's concentration over all pixels."""
    concentrations = _project(density, unmix.T)
    return np.array([upper_percentile(c.ravel(), count=c.size, percent=STRENGTH_PERCENTILE) for c in concentrations])
