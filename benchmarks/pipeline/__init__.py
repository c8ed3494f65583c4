"""Frame rate, frame age and start-up, from frame to label."""
