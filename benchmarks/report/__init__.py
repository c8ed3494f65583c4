"""Pages of recorded results."""
