"""Latency, memory and cold start of models."""
