"""Activation ranges for quantization."""
