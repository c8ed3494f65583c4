"""Near copies: resized, compressed again, brighter, cropped a little, or mirrored.

Candidates come from a perceptual hash (Zauner, "Implementation and benchmarking of
perceptual image hash functions", 2010: the signs of the low frequencies of a cosine
transform) and, where there are features, from the nearest neighbours by these. Then
the thumbnails of each pair are aligned and compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.fft import dctn

from edge_runtime.utils.stderr import progress_counter
from train.audit.alignment import SAME, Coarse, coarse, similarity

HASH_BITS = 64
HASH_DISTANCE = 12  # of 64 bits: of two versions of a picture, most are nearer
FAR_HASH_DISTANCE = 18  # without features
MOST_BY_HASH = 16  # nearest candidates of an image
NEIGHBOURS = 4  # by features
MOST_READY = 4_000  # images made ready at a time: 50 kB each
COMPARED = 2**24  # pairs of images compared at a time: 200 MB
BLOCK = 1024  # hashes computed at a time
Thumbs = npt.NDArray[np.uint8]


class CopyPair(NamedTuple):
    """Two images that are one picture.

    Attributes:
        first: Position of one.
        second: Position of the other.
        similarity: Correlation of the aligned thumbnails, 0 to 1.
        mirrored: One is the mirror image of the other.
    """

    first: int
    second: int
    similarity: float
    mirrored: bool


def find_copies(
    thumbs: Thumbs, features: npt.NDArray[np.floating] | None
) -> list[CopyPair]:
    """Returns the pairs of near copies, in the order of the images.

    Args:
        thumbs: uint8 (N, 64, 64) grey, stretched to squares, 0..255.
        features: float (N, F) of the same images; None without a network.
    """
    far = HASH_DISTANCE if features is not None else FAR_HASH_DISTANCE
    pairs = set(_near_by_hash(thumbs, far))
    if features is not None:
        pairs |= set(_near_by_features(features))
    ready: dict[int, Coarse] = {}
    found: list[CopyPair] = []
    with progress_counter(len(pairs), "comparing pairs", unit="pair") as advance:
        for first, second in sorted(pairs):
            if len(ready) > MOST_READY:
                ready.clear()
            for each in (first, second):
                if each not in ready:
                    ready[each] = coarse(thumbs[each])
            found += _compare(first, second, thumbs, ready)
            advance(1)
    return found


def _compare(
    first: int, second: int, thumbs: Thumbs, ready: dict[int, Coarse]
) -> Sequence[CopyPair]:
    for mirrored in (False, True):
        alike = similarity(
            thumbs[first],
            thumbs[second],
            ready[first],
            ready[second],
            mirrored=mirrored,
        )
        if alike >= SAME:
            return [CopyPair(first, second, min(1.0, alike), mirrored)]
    return []


def perceptual_hash(thumbs: Thumbs) -> npt.NDArray[np.uint64]:
    """Returns 64 bits for each thumbnail; copies differ in few of them.

    Args:
        thumbs: uint8 (N, 64, 64), 0..255.
    """
    hashes = []
    for start in range(0, len(thumbs), BLOCK):
        block = thumbs[start : start + BLOCK].astype(np.float32)
        small = block.reshape(len(block), 32, 2, 32, 2).mean(axis=(2, 4))
        low = dctn(small, axes=(1, 2), norm="ortho")[:, :8, :8].reshape(len(block), 64)
        low[:, 0] = 0  # the mean: brightness
        bits = low > np.median(low[:, 1:], axis=1, keepdims=True)
        hashes.append(np.packbits(bits, axis=1).view(np.uint64)[:, 0])
    return np.concatenate(hashes)


def _near_by_hash(thumbs: Thumbs, far: int) -> Iterator[tuple[int, int]]:
    """Yields pairs whose hashes differ in few bits: of each image the nearest.

    The mirror image of one of them counts, too.
    """
    hashes = perceptual_hash(thumbs)
    for others in (hashes, perceptual_hash(thumbs[:, :, ::-1])):
        rows_at_once = max(1, COMPARED // len(hashes))
        for start in range(0, len(hashes), rows_at_once):
            block = hashes[start : start + rows_at_once]
            distance = np.bitwise_count(block[:, None] ^ others[None, :])
            rows = np.arange(len(block))
            distance[rows, start + rows] = HASH_BITS + 1  # itself
            for row in np.flatnonzero((distance <= far).any(axis=1)):
                near = np.flatnonzero(distance[row] <= far)
                nearest = near[np.argsort(distance[row, near], kind="stable")]
                for other in nearest[:MOST_BY_HASH].tolist():
                    yield _ordered(start + int(row), other)


def _near_by_features(features: npt.NDArray[np.floating]) -> Iterator[tuple[int, int]]:
    """Yields each image with its nearest neighbours by the angle of the features."""
    centred = features.astype(np.float32)
    centred -= centred.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True) + 1e-6
    count = min(NEIGHBOURS, len(centred) - 1)
    rows_at_once = max(1, COMPARED // len(centred))
    for start in range(0, len(centred) if count else 0, rows_at_once):
        likeness = centred[start : start + rows_at_once] @ centred.T
        rows = np.arange(len(likeness))
        likeness[rows, start + rows] = -2  # itself
        nearest = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
        for row, others in enumerate(nearest.tolist()):
            for other in others:
                yield _ordered(start + row, other)


def _ordered(one: int, other: int) -> tuple[int, int]:
    return min(one, other), max(one, other)
