"""Releasing the model of a run, and its card."""
