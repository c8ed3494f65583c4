"""How much of a camera's pictures may be kept."""

from __future__ import annotations

from typing import NamedTuple


class RecordLimits(NamedTuple):
    """What may be kept.

    Attributes:
        pictures: Most pictures in the folder; the oldest goes first.
        megabytes: Most megabytes (10**6 bytes) of them and their documents.
        every_s: Least time between two pictures without an event, in seconds.
    """

    pictures: int = 1000
    megabytes: int = 500
    every_s: float = 1.0
