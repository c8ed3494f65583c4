"""Labelled images: reading, splitting, augmenting, feeding."""
