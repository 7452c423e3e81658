"""Loaders: tiles of a dataset as batches for PyTorch and TensorFlow, from TFRecords or directly from slides.

Neither PyTorch nor TensorFlow is imported before a loader is made.
"""

from __future__ import annotations

from slideloom_loaders.factories import tensorflow_loader as tensorflow_loader, torch_loader as torch_loader

__all__ = ["tensorflow_loader", "torch_loader"]
