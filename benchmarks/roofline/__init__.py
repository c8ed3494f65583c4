"""Share of the peak throughput."""
