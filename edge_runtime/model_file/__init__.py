"""What is in a model file, and that it is unaltered."""
