"""A threshold for each slide from its own tissue: what counts as out of focus depends on how sharp the scanner is."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

USUAL = 0.5  # the threshold on slides that are as sharp as most
_FEW = 10  # values of which no quantile is taken

# In log odds, from the held-out tissue of the training (see the model card): where all of a slide is in focus, 96% of
# its cells or more lie less than 4 above its sharpest quarter. No more than 2 is added, so that a slide that is out of
# focus all over is still found: with a disk of 3 um, 89% or more of the cells lie above 2 on nearly every field.
_SPREAD = 4.0
_MOST = 2.0


def threshold_of(values: NDArray[np.float32]) -> float:
    """The threshold for a slide with these scores, `USUAL` or more.

    Args:
        values: scores of tissue, 0-1, of any shape; NaN is left out.
    """
    scores = values[~np.isnan(values)].astype(np.float64)
    if len(scores) < _FEW:
        return USUAL
    sharpest = np.quantile(np.clip(scores, 1e-9, 1 - 1e-9), 0.25)
    raised = min(max(math.log(sharpest / (1 - sharpest)) + _SPREAD, 0.0), _MOST)
    return 1 / (1 + math.exp(-raised))
