"""Which face is which, from frame to frame."""
