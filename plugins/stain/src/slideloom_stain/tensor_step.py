"""A step on tensors: what PyTorch and TensorFlow must know about the step, and the arithmetic that they share.

Their code depends only on `Planned`, so that a step can import it.
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
    """A step as plain values, for the tensor libraries.

    Attributes:
        method: name of the method, or "" for random shifts of hue, saturation and value.
        centre: (n,) the fit in the order of `draws.flat`, or the largest shifts.
        spread: spread of random fits; None for no draws.
        around: what they are drawn around: the centre ("target"), or each image's "own" staining.
        seed: seed of the random draws.
        context: "tile" to measure each tile, "slide" to measure the slide once.
        unfit: what happens to a tile that cannot be measured.
        statistics: the slide's statistics as measured by numpy, or None. Any: each method has its own type.
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
        """True if results depend on the tiles' numbers."""
        return self.method == "" or self.spread is not None


class Planned(Protocol):
    """A step that also works on tensors."""

    def plan(self) -> TensorPlan:
        """The step as plain values."""

    def normalize(self, tiles: RgbBatch, slide: int, index: NDArray[np.int64]) -> Normalized:
        """See `slideloom_stain.step.StainStep.normalize`."""

    def succeeded(self, done: Normalized) -> NDArray[np.bool_]:
        """(B,) bool, False where a tile was rejected or returned unchanged."""


class TensorStep:
    """The arithmetic of a step on tensors.

    Attributes:
        plan: the step as plain values.
        arrays: float32 constants by name; the caller turns them into tensors and passes them to `values`.
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
        """Normalized or shifted images (B, 3, N), not rounded, and (B,) bool, False where that failed.

        Args:
            x: (B, 3, N) float32, 0-255.
            index: (B,) int64 numbers of the tiles, at least 0.
            constants: `arrays` as tensors.
            whole: whether all values of `x` are whole numbers.
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
