import numpy as np
from numpy.typing import NDArray

def linear(
    tiles: list[NDArray[np.uint8] | None],
    grid: tuple[int, int, int],
    window: tuple[int, int, int, int],
    end: tuple[int, int],
    along: tuple[NDArray[np.int32], NDArray[np.int16], NDArray[np.int16]],
    across: tuple[NDArray[np.int32], NDArray[np.int16]],
    out: NDArray[np.uint8],
    /,
) -> None: ...
def area(
    tiles: list[NDArray[np.uint8] | None],
    grid: tuple[int, int, int],
    window: tuple[int, int, int, int],
    end: tuple[int, int],
    columns: tuple[NDArray[np.int32], NDArray[np.float32], int],
    rows: tuple[NDArray[np.int32], NDArray[np.float32], int],
    out: NDArray[np.uint8],
    /,
) -> None: ...
def count_gray(rgb: NDArray[np.uint8], factor: int, bias: int, counts: NDArray[np.int64], /) -> None: ...
