"""The methods on tensors, written once for PyTorch and TensorFlow; see `slideloom_stain.tensors`.

The numpy versions in `macenko`, `reinhard` and `vahadane` explain each step and give its source.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from slideloom_stain import lab, macenko, reinhard, vahadane
from slideloom_stain.density import MIN_TISSUE_PX, TISSUE_DENSITY
from slideloom_stain.tensors import (
    NEVER,
    Ops,
    Tensor,
    all_count,
    bright_scale,
    brightened,
    density,
    each,
    linear_light,
    power,
    upper_percentile,
)

# As lists, which a compiler can trace.
_RGB_TO_XYZ = (lab.RGB_TO_XYZ / lab.WHITE[:, None]).tolist()
_LUMINANCE = lab.RGB_TO_XYZ[1:2].tolist()
_XYZ_TO_RGB = (np.linalg.inv(lab.RGB_TO_XYZ) * lab.WHITE).tolist()
_ROOTS_TO_LAB, _LAB_TO_ROOTS = lab.ROOTS_TO_LAB.tolist(), lab.LAB_TO_ROOTS.tolist()
_LAB_OFFSET = lab.LAB_OFFSET[:, None].tolist()
_LEAST_VARIANCE = (reinhard.MIN_STD[None] ** 2).tolist()
_START = (vahadane.START / np.linalg.norm(vahadane.START, axis=1, keepdims=True))[None].tolist()


class TensorMethod(ABC):
    """A method on tensors.

    Args:
        ops: operations of the tensor library.
        standardise: whether to apply the brightness step.
    """

    def __init__(self, ops: Ops, *, standardise: bool) -> None:
        self.ops = ops
        self.standardise = standardise

    def scale(self, x: Tensor, *, whole: bool) -> tuple[Tensor, Tensor]:
        """(B,) the brightness factor of each image, and (B,) bool where there is one."""
        if self.standardise:
            return bright_scale(self.ops, x, whole=whole)
        one = 0.0 * x[:, 0, 0] + 1
        return one, one > 0

    @abstractmethod
    def measure(self, x: Tensor, *, whole: bool) -> tuple[dict[str, Tensor], Tensor]:
        """Statistics by name, each with B rows, and (B,) bool where they are valid."""

    @abstractmethod
    def render(self, x: Tensor, statistics: dict[str, Tensor], fit: Tensor) -> Tensor:
        """Images (B, 3, N) with these statistics, normalized to the fit; 0-255, not rounded."""

    @staticmethod
    @abstractmethod
    def constants(statistics: Any) -> dict[str, Any]:
        """Statistics measured by numpy as arrays with one row, for `render`."""

    @abstractmethod
    def fit_of(self, statistics: dict[str, Tensor]) -> Tensor:
        """(B, n) the fit of images with these statistics."""

    def normalize(
        self, x: Tensor, goal: Callable[[dict[str, Tensor]], Tensor], *, whole: bool
    ) -> tuple[Tensor, Tensor]:
        """Images normalized to the goal by their own statistics, and (B,) bool where that was possible."""
        statistics, ok = self.measure(x, whole=whole)
        return self.ops.where(each(ok), self.render(x, statistics, goal(statistics)), x), ok


class TensorMacenko(TensorMethod):
    """See `slideloom_stain.macenko`."""

    def measure(self, x: Tensor, *, whole: bool) -> tuple[dict[str, Tensor], Tensor]:
        """See `TensorMethod.measure`."""
        ops = self.ops
        scale, ok = self.scale(x, whole=whole)
        od = density(ops, brightened(ops, x, scale))
        stains, measured = self._stains(od)
        ok = ok & measured
        strengths = ops.matmul(_pseudo_inverse(ops, stains), od)
        rows = ops.reshape(strengths, (-1, ops.length(od)))
        limits = upper_percentile(ops, rows, count=all_count(ops, rows), percent=macenko.STRENGTH_PERCENTILE)
        limits = ops.reshape(limits, (-1, 2))
        ok = ok & (ops.amin(limits, 1) >= macenko.MIN_STRENGTH)
        return {
            "scale": scale,
            "stains": stains,
            "strengths": ops.where(ok[:, None], limits, 0.0 * limits + 1),
        }, ok

    def render(self, x: Tensor, statistics: dict[str, Tensor], fit: Tensor) -> Tensor:
        """See `TensorMethod.render`."""
        ops = self.ops
        od = density(ops, brightened(ops, x, statistics["scale"]))
        target = ops.reshape(fit[:, :6], (-1, 3, 2)) * (fit[:, 6:] / statistics["strengths"])[:, None, :]
        through = ops.matmul(target, _pseudo_inverse(ops, statistics["stains"]))
        log_value = math.log(255.0) - ops.matmul(through, od)
        return ops.exp(ops.minimum(log_value, 0.0 * log_value + math.log(255.0)))

    @staticmethod
    def constants(statistics: Any) -> dict[str, Any]:
        """See `TensorMethod.constants`."""
        return {
            "scale": statistics.brightness[1:2],
            "stains": statistics.stains[None],
            "strengths": statistics.strengths[None],
        }

    def fit_of(self, statistics: dict[str, Tensor]) -> Tensor:
        """See `TensorMethod.fit_of`."""
        stains = self.ops.reshape(statistics["stains"], (-1, 6))
        return self.ops.concatenate([stains, statistics["strengths"]], 1)

    def _stains(self, od: Tensor) -> tuple[Tensor, Tensor]:
        ops = self.ops
        tissue = ops.amin(od, 1) >= TISSUE_DENSITY  # (B, N)
        weight = ops.single(tissue)
        count = ops.sum(weight, 1)
        ok = count >= MIN_TISSUE_PX
        plane = self._plane(od, weight, ops.maximum(count, 0.0 * count + 1), ok)
        # Two steps of indexing: TensorFlow's optimiser loses the new axis of `stack(...)[:, :, k, None]`.
        along, across = (ops.sum(plane[:, :, k][:, :, None] * od, 1) for k in (0, 1))
        angle = ops.arctan2(across, ops.where(tissue, along, 0.0 * along + 1))
        never = 0.0 * angle + NEVER
        percent = 100 - macenko.ANGLE_PERCENTILE
        high = upper_percentile(ops, ops.where(tissue, angle, never), count=count, percent=percent)
        low = -upper_percentile(ops, ops.where(tissue, -angle, never), count=count, percent=percent)
        ok = ok & (high - low >= math.radians(macenko.MIN_ANGLE_DEGREES))
        high, low = ops.where(ok, high, 0.0 * high + 0.5), ops.where(ok, low, 0.0 * low - 0.5)
        turns = ops.stack([ops.stack([ops.cos(low), ops.cos(high)], 1), ops.stack([ops.sin(low), ops.sin(high)], 1)], 1)
        ends = ops.matmul(plane, turns)
        swapped = ops.stack([ends[:, :, 1], ends[:, :, 0]], 2)
        return ops.where(each(ends[:, 0, 0] > ends[:, 0, 1]), ends, swapped), ok

    def _plane(self, od: Tensor, weight: Tensor, count: Tensor, ok: Tensor) -> Tensor:
        ops = self.ops
        mean = ops.sum(od * weight[:, None, :], 2, keepdims=True) / each(count)
        centred = (od - mean) * weight[:, None, :]
        covariance = ops.matmul(centred, ops.transpose(centred)) / each(count)
        # Equal eigenvalues have no gradient: tiles without tissue get a matrix that has one.
        usable = ops.constant([[[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]]], covariance)
        vectors = ops.eigenvectors(ops.where(each(ok), covariance, usable + 0.0 * covariance))
        first, second = vectors[:, :, 2], vectors[:, :, 1]
        ahead = ops.sum(first, 1, keepdims=True) >= 0
        return ops.stack([ops.where(ahead, first, -first), second], 2)


class TensorReinhard(TensorMethod):
    """See `slideloom_stain.reinhard`."""

    def __init__(self, ops: Ops, *, standardise: bool, masked: bool, on_tissue: bool) -> None:
        super().__init__(ops, standardise=standardise)
        self.masked = masked
        self.on_tissue = on_tissue
        self.cuts = standardise and masked and not on_tissue

    def measure(self, x: Tensor, *, whole: bool) -> tuple[dict[str, Tensor], Tensor]:
        """See `TensorMethod.measure`."""
        ops = self.ops
        scale, ok = self.scale(x, whole=whole)
        values = self._lab(self._bright(x, scale))
        tissue = ops.single(self._tissue(values))
        ok = ok & (ops.sum(tissue, 1) >= MIN_TISSUE_PX)
        weight = (tissue if self.on_tissue else 0.0 * tissue + 1)[:, None, :]
        count = ops.maximum(ops.sum(weight, 2, keepdims=True), 0.0 * scale[:, None, None] + 1)
        mean = ops.sum(values * weight, 2, keepdims=True) / count
        variance = ops.sum((values - mean) * (values - mean) * weight, 2) / count[:, :, 0]
        enough = variance >= ops.constant(_LEAST_VARIANCE, x)
        ok = ok & (ops.amin(ops.single(enough), 1) > 0)
        # The root of 0 has no gradient.
        std = ops.sqrt(ops.where(enough, variance, 0.0 * variance + 1))
        return {"scale": scale, "means": mean[:, :, 0], "stds": std}, ok

    def render(self, x: Tensor, statistics: dict[str, Tensor], fit: Tensor) -> Tensor:
        """See `TensorMethod.render`."""
        ops = self.ops
        bright = self._bright(x, statistics["scale"])
        values = self._lab(bright)
        change = fit[:, 3:] / statistics["stds"]
        moved = values * change[:, :, None] + (fit[:, :3] - statistics["means"] * change)[:, :, None]
        out = self._rgb(moved)
        return ops.where(self._tissue(values)[:, None, :], out, bright) if self.masked else out

    @staticmethod
    def constants(statistics: Any) -> dict[str, Any]:
        """See `TensorMethod.constants`."""
        return {
            "scale": statistics.brightness[1:2],
            "means": statistics.means[None],
            "stds": statistics.stds[None],
        }

    def fit_of(self, statistics: dict[str, Tensor]) -> Tensor:
        """See `TensorMethod.fit_of`."""
        return self.ops.concatenate([statistics["means"], statistics["stds"]], 1)

    def _bright(self, x: Tensor, scale: Tensor) -> Tensor:
        """See `slideloom_stain.reinhard`; the cut is left out of gradients, which it would end."""
        bright = brightened(self.ops, x, scale)
        if not self.cuts:
            return bright
        return bright - self.ops.still(bright - self.ops.floor(bright + reinhard.CUT_TOLERANCE))

    @staticmethod
    def _tissue(values: Tensor) -> Tensor:
        return values[:, 0] < reinhard.TISSUE_LIGHTNESS

    def _lab(self, x: Tensor) -> Tensor:
        ops = self.ops
        xyz = ops.matmul(ops.constant(_RGB_TO_XYZ, x), linear_light(ops, x / 255.0))
        is_light = xyz > (6 / 29) ** 3
        # Both sides of a `where` are computed: the root must not see 0.
        root = power(ops, ops.where(is_light, xyz, 0.0 * xyz + 1), 1 / 3)
        root = ops.where(is_light, root, xyz * ((29 / 6) ** 2 / 3) + 4 / 29)
        return ops.matmul(ops.constant(_ROOTS_TO_LAB, x), root) + ops.constant(_LAB_OFFSET, x)

    def _rgb(self, values: Tensor) -> Tensor:
        ops = self.ops
        root = ops.matmul(ops.constant(_LAB_TO_ROOTS, values), values - ops.constant(_LAB_OFFSET, values))
        xyz = ops.where(root > 6 / 29, root * root * root, (root - 4 / 29) * (3 * (6 / 29) ** 2))
        light = ops.matmul(ops.constant(_XYZ_TO_RGB, values), xyz)
        light = ops.minimum(ops.maximum(light, 0.0 * light), 0.0 * light + 1)
        is_light = light > 0.0031308
        curved = power(ops, ops.where(is_light, light, 0.0 * light + 1), 1 / 2.4)
        return ops.where(is_light, curved * 1.055 - 0.055, light * 12.92) * 255.0


class TensorVahadane(TensorMethod):
    """See `slideloom_stain.vahadane`. Stains are learnt in a loop: slow, and not suited to compilers."""

    def __init__(self, ops: Ops) -> None:
        super().__init__(ops, standardise=True)

    def measure(self, x: Tensor, *, whole: bool) -> tuple[dict[str, Tensor], Tensor]:
        """See `TensorMethod.measure`."""
        ops = self.ops
        scale, ok = self.scale(x, whole=whole)
        bright = brightened(ops, x, scale)
        od, weight, count = self._sample(bright, density(ops, bright))
        stains = ops.constant(_START, x) + 0.0 * each(scale)
        stains = ops.repeat(vahadane.ROUNDS, lambda present: self._better(present, od, weight), stains)
        stains = stains / ops.maximum(_norm(ops, stains), 0.0 * stains + 1e-12)
        strengths = ops.sum(self._strengths(od, stains, vahadane.STAIN_PENALTY) * weight, 2)
        share = ops.amin(strengths, 1) / ops.maximum(ops.sum(strengths, 1), 0.0 * scale + 1e-12)
        cosine = ops.sum(stains[:, 0] * stains[:, 1], 1)
        ok = ok & (count >= MIN_TISSUE_PX) & (share >= vahadane.MIN_SHARE)
        ok = ok & (cosine <= math.cos(math.radians(vahadane.MIN_ANGLE_DEGREES)))
        swapped = ops.stack([stains[:, 1], stains[:, 0]], 1)
        stains = ops.where(each(stains[:, 0, 0] >= stains[:, 1, 0]), stains, swapped)
        usable = ops.constant(_START, x) + 0.0 * stains
        return {"scale": scale, "stains": ops.where(each(ok), stains, usable)}, ok

    def render(self, x: Tensor, statistics: dict[str, Tensor], fit: Tensor) -> Tensor:
        """See `TensorMethod.render`."""
        ops = self.ops
        bright = brightened(ops, x, statistics["scale"])
        strengths = self._strengths(density(ops, bright), statistics["stains"], vahadane.STRENGTH_PENALTY)
        target = ops.transpose(ops.reshape(fit, (-1, 2, 3)))
        out = 255.0 * ops.exp(-ops.matmul(target, strengths))
        return ops.where(self._darker(bright, vahadane.TISSUE_LIGHTNESS)[:, None, :], out, bright)

    @staticmethod
    def constants(statistics: Any) -> dict[str, Any]:
        """See `TensorMethod.constants`."""
        return {"scale": statistics.brightness[1:2], "stains": statistics.stains[None]}

    def fit_of(self, statistics: dict[str, Tensor]) -> Tensor:
        """See `TensorMethod.fit_of`."""
        return self.ops.reshape(statistics["stains"], (-1, 6))

    def _sample(self, bright: Tensor, od: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Densities (B, 3, m) of pixels spread evenly over the tissue, weights (B, 1, m), 1 or 0, and their number."""
        ops = self.ops
        ranks = ops.cumsum(ops.integer(self._darker(bright, vahadane.STAIN_LIGHTNESS)))  # (B, N)
        count = ranks[:, -1]
        numbers = ops.arange(vahadane.SAMPLE_PX, bright)
        few = count[:, None] <= vahadane.SAMPLE_PX
        wanted = ops.where(few, numbers + 0 * count[:, None], numbers * count[:, None] // vahadane.SAMPLE_PX)
        counts = (wanted < count[:, None]) & (wanted >= 0)
        index = ops.find(ranks, ops.where(counts, wanted, 0 * wanted) + 1)
        index = ops.minimum(index, 0 * index + ops.integer(ops.length(od)) - 1)
        sampled = ops.stack([ops.at(od[:, channel], index) for channel in range(3)], 1)
        return sampled, ops.single(counts)[:, None, :], ops.single(count)

    def _better(self, stains: Tensor, od: Tensor, weight: Tensor) -> Tensor:
        ops = self.ops
        strengths = self._strengths(od, stains, vahadane.STAIN_PENALTY) * weight
        gram = ops.matmul(strengths, ops.transpose(strengths))
        pull = ops.matmul(strengths, ops.transpose(od))
        rows = [stains[:, 0], stains[:, 1]]
        for _ in range(vahadane.STAIN_PASSES):
            for row, other in ((0, 1), (1, 0)):
                own = gram[:, row, row, None]
                used = own > 1e-12
                safe = ops.where(used, own, 0.0 * own + 1)
                wanted = (pull[:, row] - gram[:, row, other, None] * rows[other]) / safe
                wanted = ops.maximum(wanted, 0.0 * wanted)
                length = _norm(ops, wanted)
                rows[row] = ops.where(used, wanted / ops.maximum(length, 0.0 * length + 1), rows[row])
        return ops.stack(rows, 1)

    def _strengths(self, od: Tensor, stains: Tensor, penalty: float) -> Tensor:
        """See `learning.maps_of`; (B, 3, n), (B, 2, 3) -> (B, 2, n)."""
        ops = self.ops
        pull = ops.matmul(stains, od) - penalty
        own, shared, other = (
            ops.sum(stains[:, i] * stains[:, j], 1, keepdims=True) for i, j in ((0, 0), (0, 1), (1, 1))
        )
        determinant = ops.maximum(own * other - shared * shared, 0.0 * own + 1e-12)
        first, second = pull[:, 0], pull[:, 1]
        lesser = [
            ops.minimum((other * first - shared * second) / determinant, first / own),
            ops.minimum((own * second - shared * first) / determinant, second / other),
        ]
        both = ops.stack(lesser, 1)
        return ops.maximum(both, 0.0 * both)

    def _darker(self, bright: Tensor, lightness: float) -> Tensor:
        ops = self.ops
        luminance = ops.matmul(ops.constant(_LUMINANCE, bright), linear_light(ops, bright / 255.0))
        return luminance[:, 0] < ((lightness + 16) / 116) ** 3


def _norm(ops: Ops, x: Tensor) -> Tensor:
    return ops.sqrt(ops.maximum(ops.sum(x * x, -1, keepdims=True), 1e-30 + 0.0 * ops.sum(x, -1, keepdims=True)))


def _pseudo_inverse(ops: Ops, stains: Tensor) -> Tensor:
    """Pseudo-inverses (B, 2, 3) of stain matrices (B, 3, 2), whose columns must not be parallel."""
    first, second = stains[:, :, 0], stains[:, :, 1]
    own, shared, other = (
        ops.sum(a * b, 1, keepdims=True) for a, b in ((first, first), (first, second), (second, second))
    )
    determinant = own * other - shared * shared
    return ops.stack(
        [(other * first - shared * second) / determinant, (own * second - shared * first) / determinant], 1
    )


def tensor_method(ops: Ops, name: str) -> TensorMethod:
    """The method with this name, on tensors."""
    if name == "vahadane":
        return TensorVahadane(ops)
    standardise = "-fast" not in name
    if name.startswith("macenko"):
        return TensorMacenko(ops, standardise=standardise)
    on_tissue = name.endswith("-tissue")
    return TensorReinhard(ops, standardise=standardise, masked=on_tissue or name.endswith("-mask"), on_tissue=on_tissue)
