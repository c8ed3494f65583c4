"""What a network takes for pixels 0..255: the meaning of ``--pixels``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edge_runtime.errors import MetadataError
from edge_runtime.untrusted import read_json
from edge_runtime.utils.argparser import InvalidValue

LARGEST_FILE = 2**20
# What a Hugging Face processor does beside scaling, and what to do then.
_UNREAD = {
    "do_flip_channel_order": "so its network takes BGR: give --colour bgr, and a"
    " file without that key (unit where do_normalize is false)",
    "rescale_offset": "which takes 1 off before the mean: give a file with mean and"
    " std in pixels 0..255 (signed where do_normalize is false)",
}


class PixelScaling(NamedTuple):
    """The values that a network takes: ``scale * pixel + offset``.

    Attributes:
        scale: One number for all channels, or three in RGB order.
        offset: As many.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]


def in_order(pixels: PixelScaling, order: str) -> PixelScaling:
    """Returns a scaling in RGB order in that of a network's channels, or back.

    Args:
        pixels: The scaling.
        order: ``"rgb"``, ``"bgr"`` or ``"grey"``.
    """
    if order != "bgr":
        return pixels
    return PixelScaling(pixels.scale[::-1], pixels.offset[::-1])


def normalized(mean: Sequence[float], std: Sequence[float]) -> PixelScaling:
    """Returns the scaling ``(pixel - mean) / std``.

    Args:
        mean: In pixels 0..255; one number, or three in RGB order.
        std: The same, above 0.
    """
    means, stds = tuple(mean) * 3, tuple(std) * 3  # one for all, or one for each
    count = max(len(mean), len(std))
    pairs = list(zip(means, stds, strict=False))[:count]
    return PixelScaling(tuple(1 / s for _, s in pairs), tuple(-m / s for m, s in pairs))


RAW = PixelScaling((1.0,), (0.0,))
SCALINGS = {
    "raw": RAW,  # 0..255
    "unit": PixelScaling((1 / 255,), (0.0,)),  # 0..1
    "signed": PixelScaling((1 / 127.5,), (-1.0,)),  # -1..1
    # torchvision's, of values 0..1: mean 0.485 and so on, about -2.1..2.6
    "imagenet": normalized(
        [255 * mean for mean in (0.485, 0.456, 0.406)],
        [255 * std for std in (0.229, 0.224, 0.225)],
    ),
}


def pixels(text: str) -> PixelScaling:
    """Returns the scaling that a name or a file stands for, for argparse.

    Args:
        text: ``raw``, ``unit``, ``signed`` or ``imagenet``; or the path of a JSON file
            with ``mean`` and ``std`` in pixels 0..255, or with ``image_mean``,
            ``image_std`` and ``rescale_factor``, as ``preprocessor_config.json`` has.

    Raises:
        InvalidValue: It is neither, or the file does not say so.
    """
    if text in SCALINGS:
        return SCALINGS[text]
    try:
        return _read_scaling(text)
    except MetadataError as error:
        raise InvalidValue(str(error)) from error


def _read_scaling(text: str) -> PixelScaling:
    path = Path(text)
    try:
        if not path.is_file():
            raise MetadataError(
                f"expected {', '.join(SCALINGS)} or a JSON file with mean and std,"
                f" got {text[:200]!r}, which is not a file"
            )
        document = read_json(path, LARGEST_FILE)
    except (OSError, ValueError) as error:
        raise MetadataError(f"{text[:200]!r} is not a JSON file: {error}") from error
    if not isinstance(document, dict):
        raise MetadataError(f"expected a JSON object with mean and std in {text}")
    if "image_mean" in document or "image_std" in document:
        return _of_image_processor(document, text)
    mean, std = (_numbers(document, key, text) for key in ("mean", "std"))
    if max(std) <= 1 and max(map(abs, mean)) <= 1:
        raise MetadataError(
            f"expected mean and std of pixels 0..255 in {text}, such as 127.5, got"
            f" {std[0]:g}: multiply those of 0..1 by 255"
        )
    return _checked(mean, std, text)


def _of_image_processor(document: dict[str, Any], text: str) -> PixelScaling:
    """Returns the scaling of a Hugging Face ``preprocessor_config.json``."""
    for key, meaning in _UNREAD.items():
        if document.get(key):
            raise MetadataError(f"{text} says {key}, {meaning}")
    factor = document.get("rescale_factor", 1 / 255)
    if document.get("do_rescale") is False:
        factor = 1.0
    if not isinstance(factor, int | float) or not 0 < factor <= 1:
        raise MetadataError(f"expected rescale_factor in 0..1 in {text}, got {factor}")
    if document.get("do_normalize") is False:
        return PixelScaling((float(factor),), (0.0,))
    mean, std = (_numbers(document, key, text) for key in ("image_mean", "image_std"))
    return _checked([m / factor for m in mean], [s / factor for s in std], text)


def _numbers(document: dict[str, Any], key: str, text: str) -> list[float]:
    value = document.get(key)
    values = value if isinstance(value, list) else [value]
    numbers = [
        float(one)
        for one in values
        if isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < 1e9
    ]
    if len(numbers) != len(values) or len(numbers) not in (1, 3):
        raise MetadataError(
            f"expected {key} in {text} to be one number or three (red, green, blue),"
            f" got {str(value)[:60]}"
        )
    return numbers


def _checked(mean: Sequence[float], std: Sequence[float], text: str) -> PixelScaling:
    if not all(0 < one < 1e6 for one in std) or not all(abs(m) < 1e6 for m in mean):
        raise MetadataError(f"expected std above 0 in {text}, got {list(std)}")
    return normalized(mean, std)
