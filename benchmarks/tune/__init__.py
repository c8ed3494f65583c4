"""Threads, library, width."""
