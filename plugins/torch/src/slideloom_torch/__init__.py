"""Code shared by slideloom's PyTorch plugins. Use it through `slideloom.torch_device`."""
