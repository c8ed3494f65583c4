"""What a run leaves: its folder, checkpoints, figures and pictures."""
