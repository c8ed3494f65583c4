"""Where the faces are in one frame."""
