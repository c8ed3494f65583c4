"""Decodes the images of a set once and keeps what the audit needs of each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edge_runtime.errors import DatasetError
from edge_runtime.preprocessing import to_model_input
from edge_runtime.utils.picture_kinds import picture_kind, why_unreadable
from edge_runtime.utils.pictures import decode_picture, picture_size, to_8_bits
from edge_runtime.utils.stderr import capture_stderr, progress_counter
from train.audit.alignment import THUMB_PX
from train.audit.network import FeatureNetwork
from train.audit.quality import Quality, measure_quality
from train.data.decoding import decode
from train.data.listing.entries import Entry

CHUNK = 64  # images decoded at a time

# A photo is decoded at a fraction of its size, as long as its shorter side keeps this.
LEAST_DECODED_PX = 448
_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
}
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Measured:
    """What was measured of N readable images.

    Attributes:
        entries: The images.
        quality: Of each.
        thumbs: uint8 (N, 64, 64) grey, stretched to a square, 0..255.
        features: float16 (N, F) of the network; None without one.
        unreadable: Entries that could not be decoded, and why.
        damaged: Names of JPEGs that were decoded with damage.
    """

    entries: list[Entry]
    quality: list[Quality]
    thumbs: npt.NDArray[np.uint8]
    features: npt.NDArray[np.float16] | None
    unreadable: list[tuple[Entry, str]]
    damaged: list[str]


class _Seen(NamedTuple):
    quality: Quality
    thumb: Pixels
    model_input: Pixels | None


def measure(entries: Sequence[Entry], network: FeatureNetwork | None) -> Measured:
    """Returns what the audit needs of each image; memory grows by 7 kB an image.

    Args:
        entries: The images; they must be readable meanwhile.
        network: Computes the features.

    Raises:
        DatasetError: No image can be read.
    """
    kept: list[Entry] = []
    unreadable: list[tuple[Entry, str]] = []
    damaged: list[str] = []
    quality: list[Quality] = []
    thumbs: list[Pixels] = []
    features: list[npt.NDArray[np.float16]] = []
    with progress_counter(len(entries), "reading images", unit="image") as advance:
        for chunk, seen, broken in _read_chunks(entries, network):
            good = [each for each in seen if not isinstance(each, str)]
            for entry, each in zip(chunk, seen, strict=True):
                if isinstance(each, str):
                    unreadable.append((entry, each))
                else:
                    kept.append(entry)
            quality += [each.quality for each in good]
            thumbs += [each.thumb for each in good]
            if network and good:
                inputs = [each.model_input for each in good]
                features.append(network.features(np.stack(inputs)))  # type: ignore[arg-type]
            damaged += broken
            advance(len(chunk))
    if not kept:
        entry, reason = unreadable[0]
        raise DatasetError(f"no image can be read: {entry.name}: {reason}")
    return Measured(
        kept,
        quality,
        np.stack(thumbs),
        np.concatenate(features) if features else None,
        unreadable,
        damaged,
    )


def _read_chunks(
    entries: Sequence[Entry], network: FeatureNetwork | None
) -> Iterator[tuple[Sequence[Entry], list[_Seen | str], list[str]]]:
    """Yields some images at a time, what was seen or why nothing was, and damaged."""

    def see(entry: Entry) -> _Seen | str:
        try:
            return _see(entry, network)
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(entries), CHUNK):
            chunk = entries[start : start + CHUNK]
            with capture_stderr() as messages:
                seen = list(pool.map(see, chunk))
            yield chunk, seen, _find_damaged(chunk, seen) if messages() else []


def _find_damaged(chunk: Sequence[Entry], seen: Sequence[_Seen | str]) -> list[str]:
    """Returns which images a decoder complained about; it does not say which."""
    readable = [
        e for e, each in zip(chunk, seen, strict=True) if not isinstance(each, str)
    ]
    return [entry.name for entry in readable if decode(entry).damaged]


def _see(entry: Entry, network: FeatureNetwork | None) -> _Seen:
    pixels, size_wh = decode_small(entry)
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    grey = np.asarray(grey, np.uint8)
    thumb = cv2.resize(grey, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA)
    model_input = None
    if network:
        model_input = to_model_input(
            pixels, network.size_px, network.colour, network.fit
        )
    return _Seen(
        measure_quality(grey, size_wh), np.asarray(thumb, np.uint8), model_input
    )


def decode_small(entry: Entry) -> tuple[Pixels, tuple[int, int]]:
    """Returns an image, a large JPEG at a fraction of its size, and its full size.

    Returns:
        uint8 (H, W) grey or (H, W, 3) BGR, 0..255, upright; width and height in pixels
        as the file has them.

    Raises:
        ValueError: It cannot be read or decoded; the text is the reason.
    """
    try:
        data = entry.read()
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    size_wh = picture_size(data) or (0, 0)
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
    if picture_kind(data) == "JPEG":
        fitting = [f for f in _REDUCED if min(size_wh) >= f * LEAST_DECODED_PX]
        flags = _REDUCED[fitting[0]] if fitting else flags
    try:
        return to_8_bits(decode_picture(data, flags))[0], size_wh
    except ValueError as error:
        raise ValueError(why_unreadable(data, str(error))) from error
