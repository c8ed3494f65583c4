"""Replaces the model while the camera runs (``run --watch DIR``)."""
