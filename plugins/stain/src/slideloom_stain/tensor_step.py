"""A step on tensors of any library: what a tensor form must know of the step, and the arithmetic both forms share.

The forms know the steps by `Planned` only, so that a step may make a form of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import Normalized, RgbBatch

from slideloom_stain.draws import Spread
from slideloom_stain.tensor_methods import tensor_method
from slideloom_stain.tensors import NEVER, Ops, Tensor, drawn_flat_fits, drawn_uniform, hsv_shifted

_SHIFTS = 3  # of hue, saturation and value


@frozen
class TensorPlan:
    """What a tensor form must know of a step.

    Attributes:
        method: name of the method, or "" for random shifts of hue, saturation and value.
        centre: (n,) the fit as `draws.flat` orders it, or the largest shifts.
        spread: with which goals are drawn; None draws none.
        around: what they are drawn around: the centre ("target"), or each image's "own" staining.
        seed: of the draws.
        context: statistics of each "tile", or of the "slide".
        unfit: what becomes of a tile that cannot be measured.
        statistics: of the slide in the numpy form, or None. Any: each method has its own.
    """

    method: str
    centre: NDArray[np.float64] = field(eq=False)
    spread: Spread | None = None
    around: Literal["target", "own"] = "target"
    seed: int = 0
    context: Literal["tile", "slide"] = "tile"
    unfit: Literal["reject", "keep-original", "slide-fit"] = "keep-original"
    statistics: Any = field(default=None, eq=False)

    @property
    def draws(self) -> bool:
        """True if results depend on the numbers of the tiles."""
        return self.method == "" or self.spread is not None


class Planned(Protocol):
    """A step that has tensor forms."""

    def plan(self) -> TensorPlan:
        """What a tensor form must know of it."""

    def normalize(self, tiles: RgbBatch, slide: int, index: NDArray[np.int64]) -> Normalized:
        """See `slideloom_stain.step.StainStep.normalize`."""

    def succeeded(self, done: Normalized) -> NDArray[np.bool_]:
        """(B,) False where a tile was rejected or kept as it was."""


class TensorStep:
    """The arithmetic of a plan.

    Attributes:
        plan: of the step.
        arrays: float32 constants by name, which the form turns into tensors and hands to `values`.
    """

    def __init__(self, ops: Ops, plan: TensorPlan) -> None:
        self.plan = plan
        self._ops = ops
        constants: dict[str, Any] = {"centre": plan.centre}
        if plan.spread is not None:
            lowest = np.maximum(plan.spread.lowest, NEVER)
            constants |= {"deviation": plan.spread.deviation, "lowest": lowest, "share": plan.spread.share}
        if plan.method:
            self._method = tensor_method(ops, plan.method)
            if plan.statistics is not None:
                constants |= {f"context_{name}": v for name, v in self._method.constants(plan.statistics).items()}
        self.arrays = {name: np.asarray(value, np.float32) for name, value in constants.items()}

    def values(
        self, x: Tensor, index: Tensor, constants: Mapping[str, Tensor], *, whole: bool
    ) -> tuple[Tensor, Tensor]:
        """Images brought to the goal, not rounded, and (B,) bool which of them are good.

        Args:
            x: (B, 3, N) float32, 0-255.
            index: (B,) int64 numbers of the tiles, at least 0.
            constants: `arrays` as tensors.
            whole: the values are whole numbers.
        """
        ops, plan, centre = self._ops, self.plan, constants["centre"]
        if not plan.method:
            drawn = ops.single(drawn_uniform(ops, plan.seed, 0, index, _SHIFTS))
            return hsv_shifted(ops, x, (2.0 * drawn - 1.0) * centre), index >= 0
        goal = self._goal(index, constants)
        context = {
            name.removeprefix("context_"): value for name, value in constants.items() if name.startswith("context_")
        }
        if plan.context == "slide":
            return (self._method.render(x, context, goal(context)), index >= 0) if context else (x, index < 0)
        out, ok = self._method.normalize(x, goal, whole=whole)
        if plan.unfit == "slide-fit" and context:
            return ops.where(ok[:, None, None], out, self._method.render(x, context, goal(context))), index >= 0
        return out, ok

    def _goal(self, index: Tensor, constants: Mapping[str, Tensor]) -> Callable[[dict[str, Tensor]], Tensor]:
        """What images are brought to, (B or 1, n), by their statistics."""
        plan, centre = self.plan, constants["centre"][None]
        if plan.spread is None:
            return lambda _: centre
        uniform = drawn_uniform(self._ops, plan.seed, 0, index, 2 * plan.centre.size)
        spread = [constants[name] for name in ("deviation", "lowest", "share")]
        if plan.around == "own":
            return lambda own: drawn_flat_fits(self._ops, self._method.fit_of(own), spread, uniform)
        drawn = drawn_flat_fits(self._ops, centre, spread, uniform)
        return lambda _: drawn
