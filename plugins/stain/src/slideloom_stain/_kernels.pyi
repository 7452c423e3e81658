from typing import Any

import numpy as np
from numpy.typing import NDArray

def ranked(values: NDArray[np.uint8], rank: int, /) -> tuple[int, int]: ...
def densities(
    rgb: NDArray[np.uint8],
    table: NDArray[np.float32],
    least: float,
    planes: NDArray[np.float32],
    sums: NDArray[np.uint64],
    /,
) -> None: ...
def largest(
    planes: NDArray[np.float32],
    directions: NDArray[np.float32],
    of_quotient: bool,
    least: float,
    ahead: float,
    ranks: tuple[int, int, int],
    room: NDArray[Any],
    found: NDArray[np.float32],
    /,
) -> bool: ...
def multiplied(rgb: NDArray[np.uint8], factors: NDArray[np.float32], out: NDArray[np.uint8], /) -> None: ...
def roots(
    rgb: NDArray[np.uint8],
    table: NDArray[np.float32],
    lab: NDArray[np.float32],
    limit: float,
    on_tissue: bool,
    planes: NDArray[np.float32],
    sums: NDArray[np.uint64],
    /,
) -> None: ...
def colours(
    planes: NDArray[np.float32],
    lab: NDArray[np.float32],
    change: NDArray[np.float32],
    greys: NDArray[np.uint8],
    masked: bool,
    limit: float,
    rgb: NDArray[np.uint8],
    bright: NDArray[np.uint8],
    out: NDArray[np.uint8],
    /,
) -> None: ...
def darker(rgb: NDArray[np.uint8], parts: NDArray[np.int32], limit: int, out: NDArray[np.uint8], /) -> None: ...
def learned(
    planes: NDArray[np.float32], penalty: float, rounds: int, passes: int, stains: NDArray[np.float64], /
) -> None: ...
def separated(
    rgb: NDArray[np.uint8],
    table: NDArray[np.float32],
    maps: NDArray[np.float32],
    stains: NDArray[np.float32],
    powers: NDArray[np.float32],
    parts: NDArray[np.int32],
    limit: int,
    bright: NDArray[np.uint8],
    out: NDArray[np.uint8],
    /,
) -> None: ...
