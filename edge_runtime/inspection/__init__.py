"""What ``check`` finds in a model file."""
