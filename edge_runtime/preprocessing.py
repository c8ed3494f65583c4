"""Turns an image into a model input: the only preprocessing in this project.

Training, calibration, benchmarks and the camera all call this module, so the network's
input on the device is that of training. It uses only operations with the same result
on x86 and arm64, to the byte: ``INTER_LINEAR_EXACT`` and ``COLOR_BGR2GRAY``, but not
``INTER_AREA`` (one pixel in 50,000 differs by 1), ``INTER_LINEAR``, ``INTER_CUBIC`` or
CLAHE.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, NamedTuple, cast

import cv2
import numpy as np
import numpy.typing as npt

Colour = Literal["grey", "rgb"]
Fit = Literal["stretch", "crop", "pad"]
Image = npt.NDArray[np.uint8]
_Sums = npt.NDArray[Any]  # int32 or float64: whole numbers

PAD_VALUE = 127  # mid-grey: near 0 for a network that scales pixels to -1..1
CHANNELS: dict[Colour, int] = {"grey": 1, "rgb": 3}
_CONVERSIONS = {
    (3, "grey"): cv2.COLOR_BGR2GRAY,
    (4, "grey"): cv2.COLOR_BGRA2GRAY,
    (1, "rgb"): cv2.COLOR_GRAY2RGB,
    (3, "rgb"): cv2.COLOR_BGR2RGB,
    (4, "rgb"): cv2.COLOR_BGRA2RGB,
}


def to_model_input(
    image: Image, size_px: int, colour: Colour, fit: Fit = "stretch"
) -> Image:
    """Returns the image as a model input: uint8, square, in the model's colour.

    Args:
        image: uint8 (H, W) grey, (H, W, 1) grey, (H, W, 3) BGR or (H, W, 4) BGRA,
            values 0..255.
        size_px: Side of the square result in pixels.
        colour: ``"grey"`` for one channel, ``"rgb"`` for three in RGB order.
        fit: How an image that is not square becomes square: ``"stretch"`` stretches
            it; ``"crop"`` cuts the largest square from its centre; ``"pad"`` adds
            mid-grey borders on both sides of the shorter axis.

    Returns:
        uint8 (size_px, size_px, 1) or (size_px, size_px, 3) in RGB order, 0..255.

    Raises:
        ValueError: The array is not a uint8 image of one of these shapes.
    """
    if image.dtype != np.uint8:
        raise ValueError(f"expected uint8 pixels 0..255, got dtype {image.dtype}")
    if image.size == 0 or image.ndim not in (2, 3):
        raise ValueError(
            f"expected an image (H, W) or (H, W, 1|3|4), got shape {image.shape}"
        )
    if fit == "crop":
        image = _central_square(image)
    image = _to_colour(image, colour)
    if fit == "pad":
        resized = _resize_and_pad(image, size_px)
    else:
        resized = resize(image, (size_px, size_px))
    return resized.reshape(size_px, size_px, CHANNELS[colour])


def _central_square(image: Image) -> Image:
    """Returns the largest square in the centre of an image: a view, not a copy."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def _resize_and_pad(image: Image, size_px: int) -> Image:
    """Returns the whole image in a square, undistorted, with mid-grey borders.

    The borders come last: around a narrow image of allowed size they would take
    gigabytes. Its shorter side is rounded to whole pixels, at least one.
    """
    height, width = image.shape[:2]
    longer = max(height, width)
    new_height, new_width = (
        max(1, (2 * side * size_px + longer) // (2 * longer))
        for side in (height, width)
    )
    resized = resize(image, (new_width, new_height))
    top, left = (size_px - new_height) // 2, (size_px - new_width) // 2
    padded = np.full((size_px, size_px, *image.shape[2:]), PAD_VALUE, np.uint8)
    padded[top : top + new_height, left : left + new_width] = resized
    return padded


def _to_colour(image: Image, colour: Colour) -> Image:
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels == 1 and colour == "grey":
        return image.reshape(image.shape[:2])
    if (channels, colour) not in _CONVERSIONS:
        raise ValueError(
            f"expected 1, 3 or 4 channels, got {channels} (shape {image.shape})"
        )
    code = _CONVERSIONS[channels, colour]
    return np.asarray(cv2.cvtColor(image, code), dtype=np.uint8)


def resize(image: Image, size_wh: tuple[int, int]) -> Image:
    """Returns the image stretched to another size, the same on every CPU.

    An axis that shrinks is averaged over its area (no aliasing); an axis that grows is
    interpolated linearly in exact integer arithmetic.

    Args:
        image: uint8 (H, W) or (H, W, C), 0..255.
        size_wh: Width and height of the result in pixels.

    Returns:
        uint8 (height, width) or (height, width, C), 0..255.
    """
    height, width = image.shape[:2]
    if (width, height) == size_wh:
        return image
    # One axis may shrink while the other grows: shrink first.
    shrunk_wh = (min(width, size_wh[0]), min(height, size_wh[1]))
    if shrunk_wh != (width, height):
        image = _shrink(image, shrunk_wh)
    if shrunk_wh != size_wh:
        image = np.asarray(
            cv2.resize(image, size_wh, interpolation=cv2.INTER_LINEAR_EXACT),
            dtype=np.uint8,
        )
    return image


def _shrink(image: Image, size_wh: tuple[int, int]) -> Image:
    """Returns the image at a smaller size, each pixel the mean of the area it covers.

    As ``INTER_AREA``, but without its rounding, which differs between processors. The
    sum of an area is a difference of the integral image at its corners (Crow 1984), and
    all of these are integers. Halves are rounded to even.
    """
    height, width = image.shape[:2]
    new_width, new_height = size_wh
    # The largest sum of an area. If it fits into int32 the integral image may wrap
    # around: its differences are right modulo 2**32. Otherwise float64, exact up to
    # 2**53: enough here for 34 megapixels to 1024x1024.
    fits_int32 = 255 * height * width < 2**31
    sums = cv2.integral(image, sdepth=cv2.CV_32S if fits_int32 else cv2.CV_64F)
    sums = _at_borders(sums, new_height, fits_int32, axis=0)
    sums = _at_borders(sums, new_width, fits_int32, axis=1)
    areas = sums[1:] - sums[:-1]
    areas = areas[:, 1:] - areas[:, :-1]
    means = areas / (height * width)
    shrunk: Image = np.rint(means, out=means).astype(np.uint8)
    # OpenCV drops a single channel.
    return shrunk.reshape(new_height, new_width, *image.shape[2:])


def _at_borders(sums: _Sums, count: int, fits_int32: bool, *, axis: int) -> _Sums:
    """Returns an integral image at the borders of ``count`` equal parts of an axis.

    Args:
        sums: Of all pixels before each border between two pixels: (H + 1, W + 1) or
            (H + 1, W + 1, C).
        count: At most the number of pixels.
        fits_int32: The sums are int32, otherwise float64.
        axis: The axis to divide, 0 or 1.

    Returns:
        The sums with count + 1 values on this axis, all multiplied by ``count``.
    """
    borders, weights = _borders(sums.shape[axis] - 1, count, fits_int32)
    neighbours = sums.take(borders, axis=axis)
    weights = weights.reshape(2, -1, *(1,) * (sums.ndim - 1 - axis))
    neighbours *= weights  # in place, here and below: this memory is in the cache
    before, after = (
        (neighbours[0], neighbours[1])
        if axis == 0
        else (neighbours[:, 0], neighbours[:, 1])
    )
    before += after
    return before


@lru_cache(maxsize=256)  # a tracked face has one of a few sizes
def _borders(
    length: int, count: int, fits_int32: bool
) -> tuple[npt.NDArray[np.intp], _Sums]:
    """Returns the borders of ``count`` equal parts of an axis, for interpolation.

    Returns:
        intp (2, count + 1): the pixel borders before and after each of them; and
        (2, count + 1): the weights of these two, which sum to ``count``.
    """
    border = np.arange(count + 1) * length
    whole = np.minimum(border // count, length - 1)
    remainder = border - whole * count
    borders = np.stack([whole, whole + 1]).astype(np.intp)
    weights = np.stack([count - remainder, remainder])
    return borders, weights.astype(np.int32 if fits_int32 else np.float64)


class _Stored(NamedTuple):
    """An image as its pixels lie in memory, and what makes the view of it.

    Attributes:
        image: With rows of neighbouring pixels.
        flip: OpenCV's code of the flip that comes first; None for none.
        transposed: Rows and columns are then exchanged.
    """

    image: Image
    flip: int | None
    transposed: bool

    def turn(self, image: Image) -> Image:
        """Returns another image, turned as the view is: an array of its own."""
        if self.transposed:
            image = cast(Image, cv2.transpose(image))
            if self.flip is not None:  # in place: a second array would cost more
                cv2.flip(image, {0: 1, 1: 0, -1: -1}[self.flip], image)
        elif self.flip is not None:
            image = cast(Image, cv2.flip(image, self.flip))
        return image


def upright(image: Image) -> Image:
    """Returns the same image; of a turned frame a copy that OpenCV can draw on.

    The frames of a turned camera are views: their pixels stay as they lie in memory.
    OpenCV would first copy them one by one. A detector needs them only in a smaller
    size, a network only a face of them: what is needed is turned, not the frame.

    Args:
        image: (H, W, 3) or (H, W); one that is not turned is returned itself.
    """
    stored = _as_stored(image)
    return stored.turn(stored.image)


def resize_upright(
    image: Image, size_wh: tuple[int, int], how: Callable[[Image, tuple[int, int]], Any]
) -> Image:
    """Returns the image in another size, upright: see ``upright``.

    A network's input is made by ``resize`` instead, the same on every processor.

    Args:
        image: uint8 (H, W, 3) or (H, W), turned or not.
        size_wh: Width and height of the result in pixels.
        how: Returns an image in a size; treats both axes alike.
    """
    stored = _as_stored(image)
    wh = size_wh[::-1] if stored.transposed else size_wh
    return stored.turn(cast(Image, how(stored.image, wh)))


def _as_stored(view: Image) -> _Stored:
    transposed = abs(view.strides[0]) < abs(view.strides[1])
    image = view.swapaxes(0, 1) if transposed else view
    backwards = image.strides[0] < 0, image.strides[1] < 0
    if not image.size or not any(backwards):
        return _Stored(image, None, transposed)
    image = image[:: -1 if backwards[0] else 1, :: -1 if backwards[1] else 1]
    flip = -1 if all(backwards) else 0 if backwards[0] else 1
    return _Stored(image, flip, transposed)


def square_box(
    box_xywh: tuple[int, int, int, int], frame_wh: tuple[int, int], margin_frac: float
) -> tuple[int, int, int, int]:
    """Returns the square around a box that lies inside the frame.

    It has the box's centre and its longer side plus the margin. At the frame's edge it
    is moved inwards, and it is made smaller only where the frame itself is smaller. The
    crop is always square, so faces are never stretched.

    Args:
        box_xywh: Left, top, width and height in pixels; may exceed the frame.
        frame_wh: Width and height of the frame in pixels.
        margin_frac: Added on each side, as a fraction of the longer side; negative
            values crop tighter.

    Returns:
        Left, top, side, side in pixels, inside the frame, side >= 1.

    Raises:
        ValueError: The frame or the box has no area.
    """
    x, y, width, height = box_xywh
    frame_width, frame_height = frame_wh
    if min(frame_width, frame_height, width, height) < 1:
        raise ValueError(f"expected positive sizes, got {box_xywh} in {frame_wh}")
    side = round(max(width, height) * (1 + 2 * margin_frac))
    side = max(1, min(side, frame_width, frame_height))
    left = min(max(0, (2 * x + width - side) // 2), frame_width - side)
    top = min(max(0, (2 * y + height - side) // 2), frame_height - side)
    return left, top, side, side


def square_crop(
    frame: Image, box_xywh: tuple[int, int, int, int], *, margin_frac: float
) -> Image:
    """Returns the square around a box, cut from the frame (a view, not a copy).

    Args:
        frame: uint8 (H, W) grey or (H, W, 3) BGR, 0..255.
        box_xywh: Left, top, width and height in pixels.
        margin_frac: See ``square_box``.

    Returns:
        uint8 (side, side) or (side, side, 3) in the frame's channel order.
    """
    frame_wh = (frame.shape[1], frame.shape[0])
    left, top, side, _ = square_box(box_xywh, frame_wh, margin_frac)
    return frame[top : top + side, left : left + side]
