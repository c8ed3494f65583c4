"""How much the int8 accuracy depends on which images were drawn to calibrate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from export.calibration.record import chosen_from
from export.convert.recipes import quantize
from export.convert.tflite import measure_ranges
from train.data.dataset import Dataset

SEEDS = (1, 2, 3, 4, 5)

Score = Callable[[bytes], float]


def seed_spread(
    model: bytes,
    data: Dataset,
    count: int,
    score: Score,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Returns the int8 accuracy over five calibration seeds, JSON-ready.

    Args:
        model: The float32 TFLite model.
        data: The images to draw from; only the training split is used.
        count: Number of images to calibrate with.
        score: Returns a model's accuracy on the validation images, 0..1.
        say: Called with a line about each step.
    """
    accuracies = []
    for seed in SEEDS:
        images = chosen_from(data, count, seed).images
        ranges = measure_ranges(model, images).clipped
        accuracies.append(score(quantize(model, ranges)))
        say(f"audit: calibration seed {seed}, int8 accuracy {accuracies[-1]:.2%}")
    return {
        "seeds": list(SEEDS),
        "images": count,
        "accuracy": [round(one, 5) for one in accuracies],
        "mean": round(float(np.mean(accuracies)), 5),
        "sd": round(float(np.std(accuracies, ddof=1)), 5),
        "min": round(min(accuracies), 5),
        "max": round(max(accuracies), 5),
    }
