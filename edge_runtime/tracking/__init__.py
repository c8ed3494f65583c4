"""Which face is which, between detections."""
