"""Targets that say more than one label."""
