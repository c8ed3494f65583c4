"""Documents, timing and conditions, which all benchmarks share."""
