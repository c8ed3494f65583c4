"""``python -m edge_runtime doctor``: is this board ready, and what to do if not."""

from __future__ import annotations

from edge_runtime.doctor.command import add_doctor

__all__ = ["add_doctor"]
