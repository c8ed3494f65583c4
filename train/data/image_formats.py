"""Image files, and what becomes of them: a model's input."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edge_runtime.preprocessing import CHANNELS, Colour, Fit
from train.data.listing.entries import Entry


class ImageFormat(NamedTuple):
    """How a model takes images.

    Attributes:
        size_px: Side of the square in pixels.
        colour: ``"grey"`` or ``"rgb"``.
        fit: How images become square.
    """

    size_px: int
    colour: Colour
    fit: Fit

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.size_px, self.size_px, CHANNELS[self.colour]

    @property
    def nbytes(self) -> int:
        """Bytes of an image."""
        return self.size_px**2 * CHANNELS[self.colour]


class Flags(NamedTuple):
    """What is doubtful about an image; as in ``DecodedImage``."""

    deep: bool = False
    dark: bool = False
    damaged: bool = False


class ImageFile(NamedTuple):
    """The file of an image.

    Attributes:
        entry: Reads it.
        stamp: As ``Entry.stamp`` returned it before it was read; may be empty.
        content: A hash of its bytes, 32 hexadecimal digits; empty where none is needed.
    """

    entry: Entry
    stamp: str = ""
    content: str = ""


class PreparedImage(NamedTuple):
    """An image as a model's input.

    Attributes:
        pixels: uint8 (S, S, C), 0..255, grey or RGB.
        pixel_hash: As ``train.data.splits.pixel_hash``; empty where none was asked for.
        flags: What is doubtful about it.
    """

    pixels: npt.NDArray[np.uint8]
    pixel_hash: str
    flags: Flags


def content_hash(data: bytes) -> str:
    """Returns a hash of a file's bytes, 32 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()
