"""OpenCV without threads of its own, for as long as our own work takes.

The number of OpenCV's threads is one setting of the whole process, which belongs to the user. Tiles are what runs in
parallel here, and OpenCV's threads would only compete with that.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType


class _OneThread:
    """A context that any number of threads may be in, one within another too: the last to leave restores the setting.

    The core does not import OpenCV. Where nobody has yet, the setting is made at the next entry after somebody did.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._former: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._former is None:
                cv2 = sys.modules.get("cv2")
                if cv2 is not None and hasattr(cv2, "setNumThreads"):  # not so while it is being imported
                    self._former = cv2.getNumThreads()
                    cv2.setNumThreads(1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._former is not None:
                sys.modules["cv2"].setNumThreads(self._former)
                self._former = None


_one_thread = _OneThread()


def opencv_in_one_thread() -> _OneThread:
    """A context in which OpenCV works in the calling thread alone; behind it, the process has the setting it had.

    For calls of OpenCV on single tiles and on pieces of a slide. Costs a microsecond.
    """
    return _one_thread
