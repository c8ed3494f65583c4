"""Histograms in a model file: measured, written, read, and refused where damaged."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.errors import MetadataError
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.model_file.reference import (
    EDGES,
    brightness,
    grey_input,
    histogram,
    measure_reference,
    read_reference,
    sharpness,
)

LABELS = ("dark", "light", "none")
RNG = np.random.default_rng(3)
IMAGES = np.stack(
    [np.full((24, 24, 1), level, np.uint8) for level in range(0, 250, 5)]
    + [RNG.integers(0, 256, (24, 24, 1), dtype=np.uint8)] * 50
)
ANSWERS = np.tile(np.array([[0.7, 0.2, 0.1]], np.float32), (100, 1))


def reference() -> Any:
    return measure_reference(IMAGES, ANSWERS)


def test_each_image_is_in_one_bin_of_each_histogram() -> None:
    measured = reference()
    assert measured.images == 100
    for name in (*EDGES, "labels"):
        assert getattr(measured, name).sum() == 100
    assert measured.labels.tolist() == [100, 0, 0]
    assert measured.confidence.nonzero()[0].tolist() == [13]  # 0.65 to 0.7
    assert measured.sharpness[0] == 50  # images of one level


def test_histograms_come_back_from_the_metadata_of_a_file() -> None:
    spec = ModelSpec(LABELS, 24, "grey", reference=reference().to_document())
    read = read_reference(ModelSpec.from_document(spec.to_document()).reference, 3)
    assert read is not None
    for before, after in zip(reference(), read, strict=True):
        assert np.array_equal(before, after)


def test_files_without_histograms_are_as_before() -> None:
    spec = ModelSpec(LABELS, 24, "grey")
    assert "reference" not in spec.to_document()
    assert read_reference(spec.reference, 3) is None


def test_quantiles_are_those_of_the_values_to_within_a_bin() -> None:
    values = RNG.normal(120, 30, 5000).clip(0, 255)
    measured = reference()._replace(
        images=5000, brightness=histogram("brightness", values)
    )
    for share in (0.01, 0.5, 0.99):
        found = measured.quantiles("brightness", share)[0]
        assert found == pytest.approx(np.quantile(values, share), abs=8)


def test_values_beyond_the_borders_count_in_the_last_bins() -> None:
    counts = histogram("sharpness", [0.0, 1e9])
    assert counts[0] == counts[-1] == 1


@pytest.mark.parametrize("sigma", [1, 2, 3])
def test_blur_lowers_sharpness_by_more_than_half(sigma: int) -> None:
    noise = RNG.integers(0, 256, (120, 160), dtype=np.uint8)
    picture = np.asarray(cv2.GaussianBlur(noise, (0, 0), 0.8), np.uint8)
    blurred = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)
    assert sharpness(blurred) < sharpness(picture) / 2


def test_sharpness_is_that_of_the_sharpest_part() -> None:
    corner = np.full((120, 160), 90, np.uint8)
    corner[:30, :40] = RNG.integers(0, 256, (30, 40), dtype=np.uint8)
    full = np.tile(corner[:30, :40], (4, 4))
    assert sharpness(corner) == pytest.approx(sharpness(full), rel=0.1)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2)])
def test_tiny_images_have_a_sharpness(shape: tuple[int, int]) -> None:
    assert sharpness(np.full(shape, 7, np.uint8)) > 0


def test_brightness_of_a_colour_input_is_that_of_its_grey_image() -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255  # RGB
    assert brightness(grey_input(red)) == pytest.approx(76, abs=1)


@pytest.mark.parametrize(
    "change",
    [
        {"images": 0},
        {"images": True},
        {"images": 99},
        {"labels": [100, 0]},
        {"labels": [50, 51, -1]},
        {"labels": [100.0, 0, 0]},
        {"labels": "many"},
        {"brightness": None},
        {"sharpness": [[1]]},
    ],
    ids=str,
)
def test_damaged_histograms_are_refused_in_one_line(change: dict[str, Any]) -> None:
    document = {**reference().to_document(), **change}
    with pytest.raises(MetadataError, match="export it again") as caught:
        read_reference(document, 3)
    assert "\n" not in str(caught.value)
