"""Right, wrong, changed by quantization."""
