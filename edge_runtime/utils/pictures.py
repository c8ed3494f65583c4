"""Decodes picture files, each no larger than ``MAX_PIXELS``."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_runtime.utils.picture_header import picture_size, too_many_pixels

DARKEST_16_BITS = 2**15  # pictures that use 16 bits reach higher


def decode_picture(data: bytes, flags: int = cv2.IMREAD_COLOR) -> npt.NDArray[Any]:
    """Returns the pixels of a picture file: the one place where OpenCV decodes bytes.

    Args:
        data: The bytes of the file.
        flags: Of ``cv2.imdecode``: colour, bit depth, rotation.

    Returns:
        (H, W, 3) BGR or (H, W) grey, uint8 unless the flags ask for another depth.

    Raises:
        ValueError: They are no such picture, damaged, or too many pixels; the message
            is the reason.
    """
    size_wh = picture_size(data)
    if size_wh is None:
        raise ValueError("it is no picture of a known kind, or cut off")
    if reason := too_many_pixels(size_wh):
        raise ValueError(reason)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.STS_NO_MEM:
            raise MemoryError(f"a picture of {size_wh[0]} x {size_wh[1]}") from error
        raise ValueError("it is damaged") from error
    if image is None:
        raise ValueError("it is damaged, or this OpenCV does not know its kind")
    return image


def to_8_bits(image: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint8], bool]:
    """Returns a picture with 8 bits a pixel, and whether it is dark for its 16.

    Nothing in a file says that values of 10 or 12 bits are stored in 16: such a picture
    is nearly black.

    Raises:
        ValueError: Its pixels are of another kind.
    """
    if image.dtype == np.uint16:
        dark = int(image.max()) < DARKEST_16_BITS
        return (image >> 8).astype(np.uint8), dark
    if image.dtype != np.uint8:
        raise ValueError(f"{image.dtype} pixels: save it with 8 bits a pixel")
    return image, False
