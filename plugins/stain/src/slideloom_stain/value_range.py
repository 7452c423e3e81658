"""Which values an image may have: uint8 0 to 255, floating 0 to 1. Others are refused, not guessed at."""

from __future__ import annotations

from slideloom import ConfigError

# How far floating values may leave 0 to 1: what resampling and rounding do, and far less than a range of another kind.
TOLERANCE = 0.01
LEAST, MOST = -TOLERANCE, 1 + TOLERANCE


def refuse_range(low: float, high: float) -> None:
    """Raise ValueError unless floating values from `low` to `high` can be an image; NaN passes."""
    if low < LEAST or high > MOST:
        remedy = "divide by 255, or give uint8" if low >= 0 and high <= 255 else "bring them to 0-1, or give uint8"
        raise ValueError(f"a floating image has values from 0 to 1, this one has {low:g} to {high:g}; {remedy}")


def refuse_kind(kind: str) -> None:
    """Raise ConfigError: whole numbers other than uint8 have no range that is known."""
    raise ConfigError(f"not an image: values of type {kind}; give uint8 with 0-255, or floating values 0-1")
