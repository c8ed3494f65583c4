"""Measures model files: how accurate, how fast, what quantization cost.

Everything is measured through ``edge_runtime``, as a device would run it; needs no
training library. Run it from the checkout with ``python -m benchmarks``.
"""
