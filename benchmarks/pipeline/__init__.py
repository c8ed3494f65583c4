"""From the camera to the label."""
