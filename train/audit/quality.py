"""Too dark, of one colour, blurred, of an odd size or shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

MEASURED_PX = 256  # blur is measured with the shorter side at most this
DARKEST = 0.3  # of white: the 99th percentile of a picture that is not too dark
FLATTEST = 0.08  # of white: least range from the 1st to the 99th percentile
BLUR_TAPS = 9
BLURRED = 0.6
SMALL_SHARE = 1 / 3  # of the median of the shorter sides
ODD_ASPECT = 1.8  # times the median of longer to shorter side
Grey = npt.NDArray[np.uint8]


class Quality(NamedTuple):
    """What was measured of one image.

    Attributes:
        size_wh: Width and height in pixels.
        brightest: 99th percentile of the grey values, as a share of white.
        contrast: From the 1st to the 99th percentile, as a share of white.
        blur: 0 sharp to 1 (no detail), see ``blur``.
    """

    size_wh: tuple[int, int]
    brightest: float
    contrast: float
    blur: float


class Flaw(NamedTuple):
    """Something wrong with one image.

    Attributes:
        kind: ``dark``, ``flat``, ``blurred``, ``size`` or ``aspect``.
        severity: 0 to 1, 1 the worst.
        why: What was measured.
    """

    kind: str
    severity: float
    why: str


def measure_quality(grey: Grey, size_wh: tuple[int, int]) -> Quality:
    """Returns what is measured of an image.

    Args:
        grey: uint8 (H, W), 0..255.
        size_wh: Its full size in pixels.
    """
    scale = MEASURED_PX / min(grey.shape)
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in grey.shape)
        resized = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
        grey = np.asarray(resized, np.uint8)
    low, high = np.percentile(grey, (1, 99)) / 255
    return Quality(size_wh, float(high), float(high - low), blur(grey))


def blur(grey: Grey) -> float:
    """Returns how little a picture loses by being blurred: 0 sharp, 1 no detail.

    Crete et al., "The blur effect: perception and estimation with a new no-reference
    perceptual blur metric" (2007): the share of the differences between neighbours that
    is still there after a mean over nine pixels; of both directions the larger share.

    Args:
        grey: uint8 (H, W), 0..255.
    """
    image = grey.astype(np.float32)
    shares = []
    for axis, taps in ((0, (1, BLUR_TAPS)), (1, (BLUR_TAPS, 1))):
        blurred = cv2.blur(image, taps, borderType=cv2.BORDER_REFLECT_101)
        before = np.abs(np.diff(image, axis=axis))
        after = np.abs(np.diff(np.asarray(blurred), axis=axis))
        total = float(before.sum())
        lost = float(np.maximum(0, before - after).sum())
        shares.append(1 - lost / total if total else 1.0)
    return max(shares)


def find_flaws(quality: Sequence[Quality]) -> list[list[Flaw]]:
    """Returns what is wrong with each image.

    Sizes and shapes are compared with those of the set, light and sharpness are not.
    """
    sides = np.array([sorted(each.size_wh) for each in quality], np.float64)
    sides = np.maximum(sides, 1)
    short = float(np.median(sides[:, 0]))
    aspect = float(np.median(sides[:, 1] / sides[:, 0]))
    return [_flaws(each, short, aspect) for each in quality]


def _flaws(each: Quality, short: float, aspect: float) -> list[Flaw]:
    """Returns the flaws of an image; those that follow from another are left out."""
    width, height = each.size_wh
    found = []
    if each.contrast < FLATTEST:
        severity = 1 - each.contrast / FLATTEST
        why = f"nearly one colour: {each.contrast:.0%} of the range from black to white"
        found.append(Flaw("flat", severity, why))
    elif each.brightest < DARKEST:
        why = f"the brightest parts have {each.brightest:.0%} of white"
        found.append(Flaw("dark", 1 - each.brightest / DARKEST, why))
    elif each.blur > BLURRED:
        severity = (each.blur - BLURRED) / (1 - BLURRED)
        why = f"blur {each.blur:.2f} (0 sharp, 1 no detail)"
        found.append(Flaw("blurred", severity, why))
    if min(each.size_wh) < SMALL_SHARE * short:
        severity = 1 - min(each.size_wh) / (SMALL_SHARE * short)
        why = f"{width} x {height} pixels; the shorter side of most has {short:.0f}"
        found.append(Flaw("size", severity, why))
    own = max(each.size_wh) / max(1, min(each.size_wh))
    if own > ODD_ASPECT * aspect:
        severity = 1 - ODD_ASPECT * aspect / own
        why = f"{width} x {height} pixels: {own:.1f} to 1; most have {aspect:.1f} to 1"
        found.append(Flaw("aspect", severity, why))
    return found
