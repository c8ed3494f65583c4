"""From an image set to a run folder: ``python -m train``."""
