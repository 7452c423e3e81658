"""Which values an image may have: uint8 0-255, floating 0-1 or a stated range. Others are refused, not guessed at."""

from __future__ import annotations

import math

from attrs import field, frozen
from slideloom import ConfigError

# How far floating values may lie outside their range, as a share of it: enough for resampling and rounding, far too
# little for another range.
_TOLERANCE = 0.01


@frozen
class ValueRange:
    """The values of black and white in a floating image, such as 0 and 1.

    Raises:
        ConfigError: black is not below white.
    """

    black: float = field(default=0.0)
    white: float = field(default=1.0)

    def __attrs_post_init__(self) -> None:
        if not (math.isfinite(self.black) and math.isfinite(self.white) and self.black < self.white):
            raise ConfigError(f"value_range must be two numbers, the first below the second, not {self.text}")

    @property
    def text(self) -> str:
        """Such as "0 to 1"."""
        return f"{self.black:g} to {self.white:g}"

    @property
    def step(self) -> float:
        """How many of 255 grey levels a difference of 1 is."""
        return 255.0 / (self.white - self.black)

    @property
    def least(self) -> float:
        """The least value that rounding may leave."""
        return self.black - _TOLERANCE * (self.white - self.black)

    @property
    def most(self) -> float:
        """The greatest one."""
        return self.white + _TOLERANCE * (self.white - self.black)

    def refuse(self, low: float, high: float) -> None:
        """Raise ValueError unless floating values from `low` to `high` can be an image; NaN is accepted."""
        if low < self.least or high > self.most:
            goal = "0-1" if self == UNIT else self.text
            is_bytes = self == UNIT and low >= 0 and high <= 255
            remedy = "divide by 255" if is_bytes else f"bring them to {goal}"
            raise ValueError(
                f"a floating image has values from {self.text}, this one has {low:g} to {high:g}; {remedy}, or "
                "give uint8, or state their range as value_range"
            )


UNIT = ValueRange()


def refuse_kind(kind: str) -> None:
    """Raise ConfigError: the range of whole numbers other than uint8 is not known."""
    raise ConfigError(f"not an image: values of type {kind}; give uint8 with 0-255, or floating values")
