"""Accuracy of the Keras model and of the exported files, and how far they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import ModelError
from edge_runtime.inference.classifier import Classifier, softmax
from edge_runtime.model_file.container import parse_model_file
from edge_runtime.model_file.metadata import GoldenVectors, ModelSpec
from edge_runtime.model_file.reference import measure_reference
from export.calibration.calibrate import CalibrationInputs
from export.calibration.record import CalibrationRecord
from export.convert.converted_model import ConvertedModel
from export.options import Log
from export.package import file_bytes
from train import metrics
from train.data.splits import Split, in_batches
from train.data.stored_images import Pixels
from train.run.results import predict_logits

Logits = npt.NDArray[np.float32]

BATCH = 256  # images in memory
LEAST_AGREEMENT = {"float32": 0.999, "float16": 0.99}
OFTEN_AGREES = 0.9  # of other formats: surely fewer is worth a warning
# Largest difference from the Keras model on the golden patterns, as a share of the
# largest logit: float16 weights have 11 bits, and the errors of many layers add up.
LARGEST_DIFFERENCE = {"float32": 1e-3, "float16": 0.05}


def measure_accuracy(
    inputs: CalibrationInputs,
    models: Sequence[ConvertedModel],
    specs: Sequence[ModelSpec],
    record: CalibrationRecord | None,
    log: Log,
) -> dict[str, Any]:
    """Returns the figures of the files by sha256, and of the Keras model as "keras".

    Under "reference" are the histograms of the images and of the Keras model's answers.
    Where all figures are recorded, those are returned: another machine may round the
    Keras model's answers differently. Otherwise they are measured, if the images are
    here.

    Args:
        inputs: The trained model and the images.
        models: The converted models.
        specs: The metadata of their files, with golden vectors.
        record: Ranges and figures of an earlier export; new figures are saved in it.
        log: Called with a line about each step.
    """
    if inputs.figures is not None:
        log("figures: recorded")
        return inputs.figures
    trained, split = inputs.trained, inputs.evaluation
    figures = dict(record.accuracy) if record else {}
    if split is None:
        return figures
    log(f"comparing on {len(split):,} validation images")
    reference = predict_logits(trained.model, split.images)
    figures["keras"] = compare(split, reference, reference)
    answers = softmax(reference, trained.spec.temperature)
    figures["reference"] = measure_reference(split.images, answers).to_document()
    for converted, spec in zip(models, specs, strict=True):
        logits = _file_logits(file_bytes(spec, converted), converted, split.images)
        figures[converted.sha256] = {
            **compare(split, reference, logits),
            "largest_logit_difference": largest_difference(reference, logits),
        }
    run = trained.run
    if record and run and inputs.user_data is None and figures != record.accuracy:
        replace(record, accuracy=figures).save(run.ranges)
    return figures


def compare(split: Split, reference: Logits, logits: Logits) -> dict[str, Any]:
    """Returns a file's figures on labelled images, JSON-ready.

    Args:
        split: Images and true labels.
        reference: float32 (N, classes), the Keras model's logits.
        logits: float32 (N, classes), the file's.
    """
    predictions = logits.argmax(axis=1)
    matrix = metrics.confusion_matrix(split.labels, predictions, logits.shape[1])
    agreement = float(np.mean(predictions == reference.argmax(axis=1)))
    return {**metrics.summarize(matrix), "agreement": round(agreement, 5)}


def largest_difference(reference: Logits, logits: Logits) -> float:
    """Returns the largest difference between two logits at the same place."""
    return round(float(np.abs(reference - logits).max()), 5)


def require_agreement(
    converted: ConvertedModel, figures: dict[str, Any] | None
) -> None:
    """Raises ModelError if a float file often predicts another label than Keras."""
    if figures is None:
        return  # there were no images
    least = LEAST_AGREEMENT.get(converted.short_format, 0.0)
    if figures["agreement"] < least:
        raise ModelError(
            f"{converted.format} agrees with the Keras model on"
            f" {figures['agreement']:.2%} of {figures['count']:,} images, expected"
            f" {least:.1%}: nothing was written"
        )


def describe_disagreement(
    converted: ConvertedModel, figures: dict[str, Any] | None
) -> str:
    """Returns a warning if a file often predicts another label than Keras, else "".

    That is surely on more than a tenth of all images: the bound of the 95 % interval.
    """
    if figures is None:
        return ""
    share, count = figures["agreement"], figures["count"]
    if metrics.wilson_interval(round(share * count), count)[1] >= OFTEN_AGREES:
        return ""
    return (
        f"{converted.format} predicts another label than the Keras model on"
        f" {1 - share:.0%} of {count:,} images: --debug-layers names the layers,"
        " --max-drop 1 keeps them in float"
    )


def require_same_function(
    converted: ConvertedModel, golden: GoldenVectors, reference: Logits
) -> None:
    """Raises ModelError if a float file's logits for the golden patterns are others.

    Args:
        converted: The model, float32 or float16.
        golden: Its golden vectors.
        reference: float32 (N, classes), the Keras model's logits for them.
    """
    share = LARGEST_DIFFERENCE[converted.short_format]
    allowed = share * max(1.0, float(np.abs(reference).max()))
    difference = largest_difference(reference, golden.logits)
    if not difference <= allowed:  # written so that NaN fails
        raise ModelError(
            f"{converted.format} differs from the Keras model: a logit by"
            f" {difference:.3g}, allowed is {allowed:.3g}; nothing was written"
        )


def _file_logits(content: bytes, converted: ConvertedModel, images: Pixels) -> Logits:
    """Returns a finished file's logits, through ``edge_runtime`` as on the device."""
    file = parse_model_file(Path(f"model{converted.suffix}"), content)
    classifier = Classifier.from_file(file)
    return np.concatenate([classifier.logits(b) for b in in_batches(images, BATCH)])
