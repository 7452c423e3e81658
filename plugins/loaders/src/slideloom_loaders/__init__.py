"""Loaders: tiles of a dataset as batches for PyTorch and TensorFlow, from TFRecords or directly from slides.

`slideloom.torch_loader` and `slideloom.tensorflow_loader` are the way to them. Nothing is imported here, because every
command looks at every plugin when it starts.
"""
