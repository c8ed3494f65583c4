"""Accuracy of models, and what quantization changed."""
