"""``--watch``: a new model while the camera runs."""
