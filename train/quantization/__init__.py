"""Training with simulated int8: what quantization does, and fits the weights to it."""
