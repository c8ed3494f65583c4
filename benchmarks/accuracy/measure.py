"""The same labelled images through every model: how accurate, and what changed.

The first model is the reference (the float one); the others are compared with it
image by image, which shows a difference that two separate accuracies would hide in
their intervals.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.accuracy.comparison import Predictions, by_label, compare
from benchmarks.accuracy.statistics import reliability_diagram
from benchmarks.common.documents import Document, model_record, now, unique_names
from benchmarks.common.images import Images, fingerprint
from benchmarks.common.machine import machine_card
from edge_runtime import Classifier, ModelSpec
from edge_runtime.errors import MeasurementError
from train import metrics
from train.data.splits import TEST, TRAIN, VALIDATION, Split
from train.progress import progress_counter

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
    logits, inference_s = _answer(classifiers, images)
    reference = images.form_for(classifiers[0])
    models = [
        model_record(path, name, classifier, threads)
        | figures(one, images.form_for(classifier), classifier.spec)
        for path, name, classifier, one in zip(
            paths, names, classifiers, logits, strict=True
        )
    ]
    return {
        "schema": SCHEMA,
        "created": now(),
        "data": _data_record(images, classifiers)
        | {
            "count": len(reference),
            "fingerprint": models[0]["data_fingerprint"],
        },
        "labels": list(classifiers[0].spec.labels),
        "models": models,
        "comparisons": _comparisons(names, classifiers, logits, reference),
        "gate": None,
        "seconds": {"inference": inference_s},
        "machine": machine_card(),
    }


def with_seconds(document: Document, started: float, reading_s: float) -> Document:
    """Returns the document with where the command's time went, up to now.

    Args:
        document: As ``measure_accuracy`` returned it.
        started: ``time.perf_counter()`` when the command began, after the imports.
        reading_s: Seconds that finding and decoding the images took.
    """
    total = time.perf_counter() - started
    inference = document["seconds"]["inference"]
    seconds = {
        "total": total,
        "reading_images": reading_s,
        "inference": inference,
        "other": total - reading_s - inference,
    }
    return {**document, "seconds": seconds}


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
        "recall": by_label(labels, metrics.recall_by_class(matrix)),
        "expected_calibration_error": metrics.expected_calibration_error(
            logits, y_true, spec.temperature
        ),
        "reliability": reliability_diagram(logits, y_true, spec.temperature),
        "confusion_matrix": matrix.tolist(),
    }


def _comparisons(
    names: Sequence[str],
    classifiers: Sequence[Classifier],
    logits: Sequence[npt.NDArray[np.float32]],
    images: Split,
) -> list[Document]:
    first, *others = (
        Predictions.of(one, classifier.spec.temperature)
        for one, classifier in zip(logits, classifiers, strict=True)
    )
    labels = classifiers[0].spec.labels
    return [
        {"reference": names[0], "model": name}
        | compare(images.labels, first, other, labels=labels, names=images.names)
        for name, other in zip(names[1:], others, strict=True)
    ]


def _answer(
    classifiers: Sequence[Classifier], images: Images
) -> tuple[list[npt.NDArray[np.float32]], float]:
    """Returns every model's logits float32 (N, classes), and the seconds in them."""
    total = sum(len(images.form_for(classifier)) for classifier in classifiers)
    logits, seconds = [], 0.0
    with progress_counter(total, "classifying", unit="image") as step:
        for classifier in classifiers:
            found, taken = _logits(classifier, images.form_for(classifier).images, step)
            logits.append(found)
            seconds += taken
    return logits, seconds


def _logits(
    classifier: Classifier, pixels: npt.NDArray[np.uint8], step: Callable[[int], None]
) -> tuple[npt.NDArray[np.float32], float]:
    parts, seconds = [], 0.0
    for start in range(0, len(pixels), BATCH):
        before = time.perf_counter()
        parts.append(classifier.logits(pixels[start : start + BATCH]))
        seconds += time.perf_counter() - before
        step(len(parts[-1]))
    logits = np.concatenate(parts)
    if not np.isfinite(logits).all():
        raise MeasurementError(
            f"{classifier.file.name} answered with NaN or infinity:"
            " its accuracy means nothing; export it again"
        )
    return logits, seconds


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
