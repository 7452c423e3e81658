import numpy as np
from numpy.typing import NDArray

_Tiles = list[NDArray[np.uint8] | None] | list[NDArray[np.uint8]]
_Numbers = tuple[int, ...]
_Along = tuple[NDArray[np.int32], NDArray[np.int16], NDArray[np.int8]]
_Across = tuple[NDArray[np.int32], NDArray[np.int16]]

def linear(
    tasks: list[tuple[_Tiles, _Numbers, _Numbers, _Numbers, _Along, _Across, NDArray[np.uint8], bool]], /
) -> None: ...
def area(
    tiles: _Tiles,
    grid: tuple[int, int, int],
    window: tuple[int, int, int, int],
    end: tuple[int, int],
    columns: tuple[NDArray[np.int32], NDArray[np.float32], int],
    rows: tuple[NDArray[np.int32], NDArray[np.float32], int],
    out: NDArray[np.uint8],
    /,
) -> None: ...
def count_gray(rgb: NDArray[np.uint8], factor: int, bias: int, counts: NDArray[np.int64], /) -> None: ...
