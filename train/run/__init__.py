"""The folder of a run: checkpoints, metrics and plots."""
