"""Histograms of a model's validation images, kept in its file to notice drift."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edge_runtime.errors import MetadataError
from edge_runtime.model_file.container import Document
from edge_runtime.preprocessing import Image

Counts = npt.NDArray[np.int64]
TILES = 4  # sharpness is that of the sharpest of so many by so many parts
LEAST_SHARPNESS = 0.5
MOST_IMAGES = 10**9
USUAL = (0.01, 0.99)  # what lies outside of these quantiles is unusual
# Borders of the bins. Those of sharpness are quarters of a power of two.
EDGES = {
    "brightness": np.linspace(0, 256, 33),
    "sharpness": LEAST_SHARPNESS * 2 ** (np.arange(45) / 4),
    "confidence": np.linspace(0, 1, 21),
}


class Reference(NamedTuple):
    """How many of a model's validation images are in each bin.

    Attributes:
        images: Their number.
        brightness: By ``brightness`` of the model input, the bins of ``EDGES``.
        sharpness: The same by ``sharpness``.
        confidence: By the highest probability.
        labels: By the most probable label, in the model's order.
    """

    images: int
    brightness: Counts
    sharpness: Counts
    confidence: Counts
    labels: Counts

    def to_document(self) -> Document:
        """Returns the histograms as a document, JSON-ready."""
        lists = {name: getattr(self, name).tolist() for name in (*EDGES, "labels")}
        return {"images": self.images, **lists}

    def quantiles(self, name: str, *shares: float) -> list[float]:
        """Returns the values below which these shares of the images are.

        Args:
            name: A histogram with a key in ``EDGES``.
            shares: From 0 to 1. In a bin values count as evenly spread.
        """
        below = np.concatenate([[0], np.cumsum(getattr(self, name))]) / self.images
        return [float(value) for value in np.interp(shares, below, EDGES[name])]


def brightness(grey: Image) -> float:
    """Returns the mean of an image, uint8 (H, W), 0 black to 255 white."""
    return float(cv2.mean(grey)[0])


def sharpness(grey: Image) -> float:
    """Returns how sharp the sharpest part of an image is, from ``LEAST_SHARPNESS``.

    The root of the mean squared Laplacian, the measure of focus of Subbarao, Choi and
    Nikzad (1993), of the one of 16 equal parts where it is largest: a person who
    leaves a room takes detail away, but not that of the rest.

    Args:
        grey: uint8 (H, W), 0..255.
    """
    squares = cv2.Laplacian(grey, cv2.CV_32F)
    squares = cv2.multiply(squares, squares)
    height, width = grey.shape[:2]
    tiles_wh = (min(TILES, width), min(TILES, height))
    tiles = cv2.resize(squares, tiles_wh, interpolation=cv2.INTER_AREA)
    return max(LEAST_SHARPNESS, math.sqrt(tiles.max()))


def grey_input(image: Image) -> Image:
    """Returns a model input, uint8 (S, S, 1) or RGB (S, S, 3), as uint8 (S, S)."""
    if image.shape[2] == 1:
        return image[:, :, 0]
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def measure_reference(
    images: Iterable[Image], probabilities: npt.NDArray[np.float32]
) -> Reference:
    """Returns the histograms of images and of a model's answers to them.

    Args:
        images: Model inputs, uint8 (S, S, C), 0..255.
        probabilities: float32 (N, classes) of these images, at least one.
    """
    greys = map(grey_input, images)
    measured = np.array([(brightness(grey), sharpness(grey)) for grey in greys])
    best = probabilities.argmax(axis=1)
    return Reference(
        images=len(measured),
        brightness=histogram("brightness", measured[:, 0]),
        sharpness=histogram("sharpness", measured[:, 1]),
        confidence=histogram("confidence", probabilities.max(axis=1)),
        labels=np.bincount(best, minlength=probabilities.shape[1]),
    )


def histogram(name: str, values: npt.ArrayLike) -> Counts:
    """Returns how many values are in each of the bins of ``EDGES``.

    Values beyond the borders count in the first or last bin.
    """
    edges = EDGES[name]
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return counts.astype(np.int64)


def read_reference(document: Document, labels: int) -> Reference | None:
    """Returns the histograms in a model file; None where it has none.

    Args:
        document: ``ModelSpec.reference``.
        labels: Number of the model's labels.

    Raises:
        MetadataError: They are not histograms of this model.
    """
    if not document:
        return None
    count = document.get("images")
    if type(count) is not int or not 1 <= count <= MOST_IMAGES:
        raise _damaged(f"a count of images from 1, got {str(count)[:40]!r}")
    lengths = {name: len(edges) - 1 for name, edges in EDGES.items()}
    read = {}
    for name, length in {**lengths, "labels": labels}.items():
        values: Any = document.get(name)
        whole = isinstance(values, list) and all(type(value) is int for value in values)
        if not whole or len(values) != length or min(values) < 0:
            raise _damaged(f"{length} counts of {name}, got {str(values)[:40]!r}")
        if sum(values) != count:
            raise _damaged(f"{name} of {count} images, got {sum(values)}"[:200])
        read[name] = np.array(values, np.int64)
    return Reference(count, **read)


def _damaged(text: str) -> MetadataError:
    return MetadataError(
        f"the model file's reference: expected {text}; export it again"
    )
