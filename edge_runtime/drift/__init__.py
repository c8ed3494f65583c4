"""Notices that pictures or answers have become others than before."""
