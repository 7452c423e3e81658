"""Which values an image may have: uint8 0-255 or floating 0-1. Others are refused rather than guessed at."""

from __future__ import annotations

from slideloom import ConfigError

# How far floating values may lie outside 0-1: enough for resampling and rounding, far too little for another range.
TOLERANCE = 0.01
LEAST, MOST = -TOLERANCE, 1 + TOLERANCE


def refuse_range(low: float, high: float) -> None:
    """Raise ValueError unless floating values from `low` to `high` can be an image; NaN is accepted."""
    if low < LEAST or high > MOST:
        remedy = "divide by 255, or give uint8" if low >= 0 and high <= 255 else "bring them to 0-1, or give uint8"
        raise ValueError(f"a floating image has values from 0 to 1, this one has {low:g} to {high:g}; {remedy}")


def refuse_kind(kind: str) -> None:
    """Raise ConfigError: the range of whole numbers other than uint8 is not known."""
    raise ConfigError(f"not an image: values of type {kind}; give uint8 with 0-255, or floating values 0-1")
