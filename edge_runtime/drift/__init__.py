"""Notices that pictures or answers have changed."""
