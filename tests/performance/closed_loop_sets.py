"""Image sets for the closed loop: what is there at first, what comes, what measures."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from train.data.decoding import load_split
from train.data.vote_labels import VoteSource

Images = list[npt.NDArray[np.uint8]]


class Task(NamedTuple):
    """A set of images and what the device does to it.

    Attributes:
        labels: Class names.
        base: Images and labels that are there from the beginning.
        stream: Those that the device meets.
        test: Those that measure.
        brightness: Factor of all values.
        blur_px: Standard deviation of the blur.
    """

    labels: tuple[str, ...]
    base: tuple[Images, list[int]]
    stream: tuple[Images, list[int]]
    test: tuple[Images, list[int]]
    brightness: float
    blur_px: float

    def shifted(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Returns an image as the device sees it."""
        blurred = cv2.GaussianBlur(image.astype(np.float32), (0, 0), self.blur_px)
        return np.rint(np.clip(self.brightness * blurred, 0, 255)).astype(np.uint8)


def ferplus(data: Path) -> Task:
    """Returns expressions: the released network, and images that it did not learn."""
    from edge_runtime import Classifier

    labels = Classifier.load("ferplus").spec.labels
    votes = VoteSource(str(data / "ferplus_votes.csv"), None)
    loaded = load_split(
        data / "fer2013.zip",
        split="test",
        size_px=48,
        colour="grey",
        labels=labels,
        votes=votes,
    )
    images, numbers = shuffled(list(loaded.images[..., 0]), loaded.labels.tolist())
    base, test, stream = parts(images, numbers, (600, 1600))
    take_rare_classes(base, stream)
    return Task(labels, base, stream, test, 0.35, 1.5)


def trashnet(data: Path) -> Task:
    """Returns photos of waste, at 96 pixels: a third to begin with."""
    from train.data.listing.image_files import open_listing

    images, numbers = [], []
    with open_listing(data / "trashnet.zip") as listing:
        labels = tuple(sorted({entry.label for entry in listing.entries}))
        for entry in listing.entries:
            photo = cv2.imdecode(np.frombuffer(entry.read(), np.uint8), 1)
            side = min(photo.shape[:2])
            top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
            square = photo[top : top + side, left : left + side]
            images.append(cv2.resize(square, (128, 128), interpolation=cv2.INTER_AREA))
            numbers.append(labels.index(entry.label))
    images, numbers = shuffled(images, numbers)
    base, test, stream = parts(images, numbers, (550, 1050))
    return Task(labels, base, stream, test, 0.35, 2.0)


def parts(
    images: Images, numbers: list[int], cuts: Sequence[int]
) -> list[tuple[Images, list[int]]]:
    """Returns images and labels in parts that end before some positions."""
    ends = [0, *cuts, len(images)]
    return [(images[a:b], numbers[a:b]) for a, b in itertools.pairwise(ends)]


def take_rare_classes(
    base: tuple[Images, list[int]], stream: tuple[Images, list[int]], least: int = 4
) -> None:
    """Moves images to those of the beginning until each class has some there."""
    for label in sorted({*base[1], *stream[1]}):
        while base[1].count(label) < least and label in stream[1]:
            at = stream[1].index(label)
            base[0].append(stream[0].pop(at))
            base[1].append(stream[1].pop(at))


def shuffled(images: Images, numbers: list[int]) -> tuple[Images, list[int]]:
    """Returns images and labels in another order."""
    order = np.random.default_rng(0).permutation(len(images)).tolist()
    return [images[i] for i in order], [numbers[i] for i in order]


TASKS: dict[str, tuple[str, Callable[[Path], Task]]] = {
    "ferplus": ("fer2013", ferplus),
    "trashnet": ("trashnet", trashnet),
}
