"""Any model as slide QC with classes: one run of the model gives all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from slideloom import QcClass, QcResult

from slideloom_deepfocus.blending import ClassBlend
from slideloom_deepfocus.naming import ModelError
from slideloom_deepfocus.scoring import activated
from slideloom_deepfocus.strided import PredictionMap, StridedModelQC, within
from slideloom_deepfocus.strided_grid import StridedGrid

_UNJUDGED = 255


class StridedClassesQC(StridedModelQC):
    """Slide QC that runs a model with one output per class; the highest wins, after overlapping tiles are blended.

    What the model did not see is the class "unjudged", which is kept unless `discard_unvisited` makes it background.
    """

    def classes(self) -> tuple[QcClass, ...]:
        """The classes of the settings, and "unjudged"."""
        unjudged = QcClass(_UNJUDGED, "unjudged", "background" if self.options.discard_unvisited else None)
        return (*self.options.qc_classes(), unjudged)

    def new_blend(self, grid: StridedGrid) -> ClassBlend:
        """One map of scores per class."""
        return ClassBlend(grid, classes=len(self.options.qc_classes()))

    def scores(self, output: NDArray[np.generic]) -> NDArray[np.float32]:
        """The scores of all classes: (B, classes) or (B, h, w, classes) float32.

        Raises:
            ModelError: the output has another number of classes, or none.
        """
        names = [one.name for one in self.options.qc_classes()]
        values: NDArray[np.float32] = np.asarray(output, dtype=np.float32)
        if values.ndim == 4 and not self._model.channels_last:
            values = np.moveaxis(values, 1, -1)
        if values.ndim not in (2, 4) or values.shape[-1] != len(names):
            raise ModelError(
                f"the model returned an array of shape {output.shape}, but the settings name {len(names)} classes "
                f"({', '.join(names)}); wanted is one row (B, classes) or a map with classes for each tile"
            )
        return activated(values, self.options.activation)

    def again(self, earlier: QcResult) -> QcResult | None:
        """See `SlideQc.again`; for as many classes as there were, whatever they are called."""
        return super().again(earlier) if len(earlier.classes) == len(self.classes()) else None

    def judge(self, found: PredictionMap) -> QcResult:
        """The label map from a map of predictions, whose values are the numbers of classes."""
        visited, classes = found.visited, self.classes()
        labels = np.where(visited, found.values, _UNJUDGED).astype(np.uint8)
        looked = int(visited.sum())
        metrics = {"cells_judged": float(looked)}
        for one in classes[:-1]:
            metrics[f"share_{one.name}"] = float((labels == one.value).sum() / looked) if looked else 0.0
        labels, extent = within(labels, found.extent, found.slide)
        return QcResult.of_labels(labels, classes, extent=extent, metrics=metrics, notes=found.notes)
