"""What is wrong with an image set: ``python -m train audit``."""
