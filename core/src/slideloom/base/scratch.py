"""Memory to work in that is used again."""

from __future__ import annotations

import math
import threading
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

ScalarT = TypeVar("ScalarT", bound=np.generic)


class Scratch:
    """Arrays of this thread to work in, kept from one time to the next.

    Fresh memory of this size comes from the operating system page by page, and takes as long as the work in it.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def take(self, use: str, *shape: int, dtype: type[ScalarT]) -> NDArray[ScalarT]:
        """An array of any content, valid until the next one of the same use, which always has the same dtype."""
        size = math.prod(shape)
        kept: NDArray[ScalarT] | None = getattr(self._local, use, None)
        if kept is None or kept.size < size:
            kept = np.empty(size, dtype)
            setattr(self._local, use, kept)
        return kept[:size].reshape(shape)
