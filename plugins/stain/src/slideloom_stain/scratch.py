"""Memory that each thread keeps between tiles.

A tile's intermediate images are a megabyte each. Freshly allocated they cost a page fault every 4 KB, which takes
longer than the arithmetic; kept, they stay in the cache.
"""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import NDArray

_KEPT_BYTES = 1 << 24  # what larger images need is given back


class _Scratch(threading.local):
    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.uint8]] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: type[np.generic] = np.float32) -> NDArray[np.generic]:
        """An array with anything in it, overwritten by the next call of the same name in this thread.

        It must not leave the method that asked for it.
        """
        size = math.prod(shape) * np.dtype(dtype).itemsize
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = np.empty(size, np.uint8)
            if size <= _KEPT_BYTES:
                self._buffers[name] = buffer
        return buffer[:size].view(dtype).reshape(shape)


scratch = _Scratch()
