"""OpenCV without its type stubs, which refuse the scalars and tuples that its functions take."""

from __future__ import annotations

from typing import Any

import cv2 as _typed

cv2: Any = _typed
