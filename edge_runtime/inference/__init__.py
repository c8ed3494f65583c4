"""Runs a model and classifies images."""
