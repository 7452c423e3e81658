"""Builds the steps that run a model, with the model loaded once per process."""

from __future__ import annotations

from slideloom_deepfocus.models import Predictor, check_file, once, predictor
from slideloom_deepfocus.settings import StridedModel, StridedModelSettings
from slideloom_deepfocus.strided import StridedModelQC
from slideloom_deepfocus.strided_classes import StridedClassesQC


def shared_model(settings: StridedModelSettings) -> Predictor:
    """The model of these settings, loaded once per process; for use in your own step."""

    def load() -> Predictor:
        return predictor(settings.load(), layout=settings.layout, device=settings.device, trust=settings.trust)

    return once(settings.model_key(), load)


def strided_step(settings: StridedModelSettings) -> StridedModelQC:
    """The step for these settings; one that tells classes apart if they name some."""
    kind = StridedClassesQC if settings.qc_classes() else StridedModelQC
    return kind(shared_model(settings), settings)


def check_strided_model(settings: StridedModel) -> None:
    """Raise unless there is the model file, and what runs it."""
    check_file(settings.model, trust=settings.trust)
