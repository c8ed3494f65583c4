"""The same labelled images through every model: how accurate, and what changed.

The first model is the reference (the float one); the others are compared with it
image by image, which shows a difference that two separate accuracies would hide in
their intervals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.images import Images, fingerprint
from benchmarks.machine import machine_card
from benchmarks.models import Document, model_record, now, unique_names
from benchmarks.paired import (
    RESAMPLES,
    SEED,
    bootstrap_difference,
    count_flips,
    mcnemar_p,
)
from edge_runtime import Classifier, ModelSpec
from edge_runtime.errors import GateError, MeasurementError
from train import metrics
from train.progress import progress_counter
from train.splits import TEST, TRAIN, VALIDATION, Split

SCHEMA = "fer-edge/accuracy/1"
BATCH = 64


def measure_accuracy(
    paths: Sequence[Path],
    classifiers: Sequence[Classifier],
    images: Images,
    *,
    threads: int = 1,
) -> Document:
    """Returns the accuracy document, ``fer-edge/accuracy/1``, without a gate.

    Args:
        paths: The model files; the first is the reference.
        classifiers: The same, opened.
        images: What ``load_images`` returned for them.
        threads: What they were opened with, for the record.

    Raises:
        MeasurementError: A model answered with NaN or infinity.
    """
    names = unique_names(paths)
    answers = _answer(classifiers, images)
    models = [
        model_record(path, name, classifier, threads)
        | figures(logits, images.form_for(classifier), classifier.spec)
        for path, name, classifier, logits in zip(
            paths, names, classifiers, answers, strict=True
        )
    ]
    y_true = images.form_for(classifiers[0]).labels
    labels = classifiers[0].spec.labels
    first, *others = (np.asarray(a.argmax(axis=1), np.int64) for a in answers)
    comparisons = [
        {"reference": names[0], "model": name, **compare(y_true, first, other, labels)}
        for name, other in zip(names[1:], others, strict=True)
    ]
    return {
        "schema": SCHEMA,
        "created": now(),
        "data": _data_record(images, classifiers)
        | {"count": len(y_true), "fingerprint": models[0]["data_fingerprint"]},
        "labels": list(labels),
        "models": models,
        "comparisons": comparisons,
        "gate": None,
        "machine": machine_card(),
    }


def figures(
    logits: npt.NDArray[np.float32], images: Split, spec: ModelSpec
) -> Document:
    """Returns the figures of one model, JSON-ready.

    Args:
        logits: float32 (N, classes), the model's answers.
        images: The N images with their true classes.
        spec: The model's labels and temperature are used.
    """
    y_true, labels = images.labels, spec.labels
    predicted = np.asarray(logits.argmax(axis=1), np.int64)
    matrix = metrics.confusion_matrix(y_true, predicted, len(labels))
    right = int(np.trace(matrix))
    return {
        "data_fingerprint": fingerprint(images, labels),
        "count": len(y_true),
        "right": right,
        "accuracy": metrics.accuracy(matrix),
        "accuracy_95": list(metrics.wilson_interval(right, len(y_true))),
        "macro_f1": metrics.macro_f1(matrix),
        "recall": _by_label(labels, metrics.recall_by_class(matrix)),
        "expected_calibration_error": metrics.expected_calibration_error(
            logits, y_true, spec.temperature
        ),
        "confusion_matrix": matrix.tolist(),
    }


def compare(
    y_true: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    labels: Sequence[str],
) -> Document:
    """Returns how the second model's answers differ from the first's, JSON-ready.

    Args:
        y_true: int64 (N,) class indices.
        first: int64 (N,), answers of the reference.
        second: int64 (N,), answers of the other.
        labels: Class names in order.
    """
    flips = count_flips(y_true, first, second)
    recalls = [
        metrics.recall_by_class(metrics.confusion_matrix(y_true, y, len(labels)))
        for y in (first, second)
    ]
    return {
        "agreement": flips.agreement,
        "accuracy_difference_points": 100 * flips.accuracy_difference,
        "accuracy_difference_points_95": [
            100 * bound for bound in bootstrap_difference(flips)
        ],
        "bootstrap": {"resamples": RESAMPLES, "seed": SEED},
        "mcnemar_p": mcnemar_p(flips.right_to_wrong, flips.wrong_to_right),
        "flips": {
            "right_to_wrong": flips.right_to_wrong,
            "wrong_to_right": flips.wrong_to_right,
            "wrong_to_other_wrong": flips.wrong_to_other_wrong,
        },
        "recall_difference_points": _by_label(labels, 100 * (recalls[1] - recalls[0])),
    }


def check_gate(document: Document) -> None:
    """Refuses a model that may have lost more accuracy than its gate allows.

    Raises:
        GateError: The upper 95 % bound of a drop exceeds the allowed points.
    """
    if document["gate"] is None:
        return
    allowed = document["gate"]["max_drop_points"]
    for comparison in document["comparisons"]:
        drop, bound = drop_points(comparison)
        if bound > allowed:
            raise GateError(
                f"{comparison['model']} loses {drop:.2f} points of accuracy against"
                f" {comparison['reference']}, at 95 % up to {bound:.2f}:"
                f" allowed are {allowed:.2f}"
            )


def drop_points(comparison: Document) -> tuple[float, float]:
    """Returns the accuracy lost in points and its upper 95 % bound (+0.0, not -0.0)."""
    drop = -comparison["accuracy_difference_points"]
    return drop + 0.0, -comparison["accuracy_difference_points_95"][0] + 0.0


def with_gate(document: Document, max_drop_points: float) -> Document:
    """Returns the document with a gate on the accuracy drop, and whether it holds."""
    bounds = [drop_points(comparison)[1] for comparison in document["comparisons"]]
    passed = all(bound <= max_drop_points for bound in bounds)
    gate = {"max_drop_points": max_drop_points, "passed": passed}
    return {**document, "gate": gate}


def _answer(
    classifiers: Sequence[Classifier], images: Images
) -> list[npt.NDArray[np.float32]]:
    """Returns the logits float32 (N, classes) of every model for every image."""
    total = sum(len(images.form_for(classifier)) for classifier in classifiers)
    with progress_counter(total, "classifying", unit="image") as step:
        return [
            _logits(classifier, images.form_for(classifier).images, step)
            for classifier in classifiers
        ]


def _logits(
    classifier: Classifier, pixels: npt.NDArray[np.uint8], step: Callable[[int], None]
) -> npt.NDArray[np.float32]:
    parts = []
    for start in range(0, len(pixels), BATCH):
        parts.append(classifier.logits(pixels[start : start + BATCH]))
        step(len(parts[-1]))
    logits = np.concatenate(parts)
    if not np.isfinite(logits).all():
        raise MeasurementError(
            f"{classifier.file.name} answered with NaN or infinity:"
            " its accuracy means nothing; export it again"
        )
    return logits


def _data_record(images: Images, classifiers: Sequence[Classifier]) -> Document:
    return {
        "name": images.name,
        "split": images.split,
        "whole_source": images.whole_source,
        "may_include_training_images": images.split == TRAIN,
        "may_have_chosen_a_model": any(
            _may_have_chosen(classifier.spec, images) for classifier in classifiers
        ),
    }


def _may_have_chosen(spec: ModelSpec, images: Images) -> bool:
    """Returns whether a model's checkpoint and temperature come from these images."""
    data = spec.origin.get("data")
    if not isinstance(data, dict) or data.get("name") != images.name:
        return False
    deciding = TEST if data.get("validation_from") == TEST else VALIDATION
    return images.split == deciding


def _by_label(
    labels: Sequence[str], values: npt.NDArray[np.float64]
) -> dict[str, float | None]:
    """Returns values by class name, None for a class without images (JSON: null)."""
    return {
        label: None if math.isnan(value) else float(value)
        for label, value in zip(labels, values, strict=True)
    }
