"""Searches network, size, recipe and augmentation, with any number of workers."""
