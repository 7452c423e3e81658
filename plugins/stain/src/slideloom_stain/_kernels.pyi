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
