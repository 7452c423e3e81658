"""What slideloom's PyTorch plugins share. `slideloom.torch_device` is the way to it."""
