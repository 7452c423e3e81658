"""Memory that each thread keeps between tiles.

Each intermediate image of a tile takes a megabyte. New memory costs a page fault every 4 KB, which takes longer than
the arithmetic; memory that is kept stays in the processor's cache.
"""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import NDArray

_KEPT_BYTES = 1 << 24  # memory for larger images is not kept


class _Scratch(threading.local):
    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.uint8]] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: type[np.generic] = np.float32) -> NDArray[np.generic]:
        """An uninitialised array, overwritten by this thread's next call with the same name.

        The method that asks for it must not return it.
        """
        size = math.prod(shape) * np.dtype(dtype).itemsize
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = np.empty(size, np.uint8)
            if size <= _KEPT_BYTES:
                self._buffers[name] = buffer
        return buffer[:size].view(dtype).reshape(shape)


scratch = _Scratch()
