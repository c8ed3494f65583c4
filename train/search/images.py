"""What a search knows of its images: not the pixels, they are the trainings'."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from edge_runtime.preprocessing import Colour
from train.options.config import TrainConfig
from train.options.defaults import PRETRAINED_SIZE_PX, choose

PHOTO_SIZE_PX = PRETRAINED_SIZE_PX["efficientnet_lite0"]


@dataclass(frozen=True)
class ImageSummary:
    """An image set in a few words.

    Attributes:
        name: Of the images.
        fingerprint: Of their labelled pixels.
        size_px: Side in pixels; of photos that for which there are published weights.
        colour: ``"grey"`` or ``"rgb"``.
        labels: Class names in order.
        count: Number of training images.
        validated: Number of validation images.
    """

    name: str
    fingerprint: str
    size_px: int
    colour: Colour
    labels: tuple[str, ...]
    count: int
    validated: int


def read_images(data: str, given: Mapping[str, object]) -> ImageSummary:
    """Returns what a search has to know of an image set.

    Args:
        data: Path of the images.
        given: Options of the trainings.

    Raises:
        DatasetError: They cannot be read.
    """
    options = {"arch": "fer_resnet", **given, "data": data}
    chosen = choose(options, has_weights=False, released=("", []))
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    values = {k: v for k, v in {**chosen, **given}.items() if k in fields}
    if "drop_categories" in values:
        values["drop_categories"] = tuple(values["drop_categories"])
    if "teachers" in values:
        values["teachers"] = tuple(values["teachers"])
    images = TrainConfig(**{**values, "data": data}).load_images()
    return ImageSummary(
        images.name,
        images.fingerprint,
        PHOTO_SIZE_PX if values.get("fit") == "crop" else images.size_px,
        images.colour,
        images.labels,
        len(images.train),
        len(images.validation),
    )
