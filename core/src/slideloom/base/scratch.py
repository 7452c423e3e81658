"""Memory for intermediate results that is used again and again."""

from __future__ import annotations

import math
import threading
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

ScalarT = TypeVar("ScalarT", bound=np.generic)


class Scratch:
    """Arrays for intermediate results; each thread keeps its own from one call to the next.

    The operating system gives new memory of this size page by page, which takes as long as the work itself.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def take(self, use: str, *shape: int, dtype: type[ScalarT]) -> NDArray[ScalarT]:
        """An uninitialised array, valid until this thread's next call with this `use`, which has one dtype only."""
        size = math.prod(shape)
        kept: NDArray[ScalarT] | None = getattr(self._local, use, None)
        if kept is None or kept.size < size:
            kept = np.empty(size, dtype)
            setattr(self._local, use, kept)
        return kept[:size].reshape(shape)
