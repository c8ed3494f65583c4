"""A model answers."""
