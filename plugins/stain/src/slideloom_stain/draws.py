"""Random numbers from a hash: the same in numpy, PyTorch and TensorFlow, whatever the order of the tiles.

A draw is a hash of (seed, slide, tile, position of the value), so no generator is shared and no state is kept between
tiles. The hash is the 32-bit finaliser "lowbias32" (C. Wellons, "Prospecting for hash functions", 2018), computed in
64-bit integers, which every array library has.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import ConfigError, utf8

from slideloom_stain.fits import MacenkoFit, ReinhardFit, StainFit, published

_MASK = 0xFFFFFFFF


def tile_keys(slide: str, index: NDArray[np.int64]) -> tuple[int, NDArray[np.int64]]:
    """The keys of tiles for `uniform` and `normal`: a number for the slide, and the number of each tile."""
    return zlib.crc32(utf8(slide)), np.asarray(index, np.int64)


def _mixed(x: Any, xor: Callable[[Any, Any], Any]) -> Any:
    # x is below 2^32; products wrap around at 2^64, and only their lower half is used.
    x = xor(x, x // 65536)
    x = (x * 0x7FEB352D) % (1 << 32)
    x = xor(x, x // 32768)
    x = (x * (0x846CA68B - (1 << 32))) % (1 << 32)
    return xor(x, x // 65536)


def uniform_bits(names: Sequence[Any], *, arange: Any, xor: Callable[[Any, Any], Any]) -> Any:
    """Random whole numbers from 0 to 2^32 - 1.

    Args:
        names: what the numbers depend on: whole numbers or int64 arrays (B, 1) of any array library.
        arange: (1, count) int64 array of the same library: the position of each value.
        xor: the library's bitwise exclusive or.

    Returns:
        (B, count) int64.
    """
    state = arange * 0 + 0x9E3779B9 - 0x40000000
    for name in (*names, arange):
        state = _mixed(xor(state, (name * 1 + 0x3C6EF372) % (1 << 32)), xor)
    return state


def uniform(seed: int, slide: int, index: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """(B, count) float64, uniformly distributed above 0 and below 1."""
    numbers = np.arange(count, dtype=np.int64)[None]
    names = (np.int64(seed & _MASK), np.int64(slide), np.asarray(index, np.int64).reshape(-1, 1))
    drawn: NDArray[np.float64] = (uniform_bits(names, arange=numbers, xor=np.bitwise_xor) + 0.5) / 2.0**32
    return drawn


def normal(seed: int, slide: int, index: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """(B, count) float64 of the standard normal distribution (Box and Muller 1958)."""
    both = uniform(seed, slide, index, 2 * count)
    drawn: NDArray[np.float64] = np.sqrt(-2 * np.log(both[:, :count])) * np.cos(2 * np.pi * both[:, count:])
    return drawn


@frozen
class Spread:
    """How fits are drawn around a centre, value by value in the order of `flat`.

    Attributes:
        deviation: (n,) standard deviation.
        lowest: (n,) what a drawn value is at least, besides
        share: (n,) of the centre's value, which is added to it.
    """

    deviation: NDArray[np.float64] = field(eq=False)
    lowest: NDArray[np.float64] = field(eq=False)
    share: NDArray[np.float64] = field(eq=False)


def spread_of(family: str, kind: type[StainFit], preset: str) -> Spread:
    """The published spread of a family's fits.

    Args:
        family: as presets call it, such as "macenko-fast".
        kind: of its fits.
        preset: "v1" or "v2".

    Raises:
        ConfigError: none was published.
    """
    table = published()["spread"]
    if family not in table or kind not in (MacenkoFit, ReinhardFit):
        raise ConfigError(f"{family} has no published spread to augment with; use macenko, reinhard or hsv-augment")
    deviation = np.concatenate([np.ravel(part) for part in table[family].values()]) * table["times"][preset]
    # Densities are not negative, means are free, and strengths and deviations keep a tenth of the centre's.
    first = 6 if kind is MacenkoFit else 3
    lowest = np.zeros(deviation.shape)
    lowest[:first] = 0.0 if kind is MacenkoFit else -np.inf
    share = np.where(np.arange(deviation.size) < first, 0.0, 0.1)
    return Spread(deviation, lowest, share)


def flat(fit: StainFit) -> NDArray[np.float64]:
    """The values of a fit as one vector (n,)."""
    return np.concatenate([np.ravel(value) for value in fit.as_table().values()])


def refilled(fit: StainFit, values: NDArray[np.float64]) -> StainFit:
    """A fit of the same kind with values from a vector in the order of `flat`."""
    parts = []
    for old in fit.as_table().values():
        shape = np.shape(old)
        parts.append(values[: int(np.prod(shape))].reshape(shape))
        values = values[int(np.prod(shape)) :]
    return type(fit)(*parts)


def drawn_fit(fit: StainFit, spread: Spread, drawn: NDArray[np.float64]) -> StainFit:
    """A random target around `fit`, by `drawn` (n,) of the standard normal distribution."""
    centre = flat(fit)
    return refilled(fit, np.maximum(centre + spread.deviation * drawn, spread.lowest + spread.share * centre))
