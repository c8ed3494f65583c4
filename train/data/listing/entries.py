"""A labelled image in a folder, a zip or a CSV, not decoded yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One labelled image that has not been decoded yet.

    Attributes:
        name: Path inside the folder or zip, or ``row N`` of a CSV.
        split: train, validation or test.
        label: Class name.
        read: Returns the bytes of an image file; raises OSError or ValueError, with
            the reason, where that fails.
        stamp: Returns a text that is another one once the file has changed; empty where
            only its bytes tell.
        source: Number of the image set that it is from, of several.
    """

    name: str
    split: str
    label: str
    read: Callable[[], bytes]
    stamp: Callable[[], str] = str
    source: int = 0
