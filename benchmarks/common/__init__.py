"""Used by two or more of the benchmarks."""
