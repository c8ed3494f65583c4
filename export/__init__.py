"""From a run folder to model files for the device: ``python -m export``."""
