"""Turns OpenCV's own threads off during our calls.

The number of OpenCV's threads is a setting of the whole process, and it belongs to the user. Here tiles are processed
in parallel, and OpenCV's threads would only compete with them.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType


class _OneThread:
    """A context that any number of threads may enter, also nested: the last one to leave restores the setting.

    The core does not import OpenCV. If nothing else has imported it yet, the setting is made at the first entry after
    that.
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
                if cv2 is not None and hasattr(
                    cv2, "setNumThreads"
                ):  # it lacks the function while it is being imported
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
    """A context in which OpenCV works only in the calling thread. At its end the process has its old setting again.

    For OpenCV calls on single tiles and on parts of a slide. It costs a microsecond.
    """
    return _one_thread
