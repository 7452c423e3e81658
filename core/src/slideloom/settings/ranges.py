"""Validators for numeric options; each can state its range, for help and messages."""

from __future__ import annotations

from typing import Any

import attrs
from attrs import frozen


@frozen
class Range:
    """A validator for numbers in a range; it accepts None but not NaN.

    Attributes:
        low: the lower limit.
        high: the upper limit, which is included, or None.
        above: True if `low` itself is excluded.
    """

    low: float
    high: float | None = None
    above: bool = False

    def __call__(self, _instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        """Raise `ValueError` for a number outside the range."""
        if value is not None and not self.holds(value):
            written = f"{value:.0f}" if isinstance(value, float) and value.is_integer() else repr(value)
            raise ValueError(f"{attribute.name} must be {self}, not {written}")

    def holds(self, value: float) -> bool:
        """True for a number in the range; False for NaN."""
        is_low_enough = self.high is None or value <= self.high
        return is_low_enough and (value > self.low if self.above else value >= self.low)

    def __str__(self) -> str:
        if self.high is not None:
            return f"from {self.low} to {self.high}"
        return f"above {self.low}" if self.above else f"at least {self.low}"


def in_range(low: float, high: float) -> Range:
    """A validator for numbers from `low` to `high`, both included; it accepts None."""
    return Range(low, high)


def at_least(low: float) -> Range:
    """A validator for numbers of at least `low`; it accepts None."""
    return Range(low)


_POSITIVE = Range(0, above=True)


def positive(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A validator for numbers above 0; it accepts None."""
    _POSITIVE(instance, attribute, value)


def range_text(validator: Any) -> str:
    """The range of a validator in words, such as "from 0 to 1"; empty for other kinds of validators."""
    if validator is positive:
        return str(_POSITIVE)
    return str(validator) if isinstance(validator, Range) else ""
