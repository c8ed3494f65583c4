"""The same labelled images through every model: how accurate, and what changed.

The first model is the reference (the float one). The others are compared with it image
by image, which shows differences that the intervals of two separate accuracies hide.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.accuracy.comparison import Predictions, by_label, compare
from benchmarks.common.documents import (
    Document,
    model_record,
    now,
    unique_names,
)
from edge_runtime import Classifier, ModelSpec
from edge_runtime.errors import MeasurementError, ModelError
from edge_runtime.preprocessing import Colour, Fit
from edge_runtime.utils.stderr import progress_counter
from train import metrics
from train.data.decoding import load_split
from train.data.drawn_faces import DRAWN
from train.data.listing.image_files import open_listing
from train.data.splits import (
    TEST,
    TRAIN,
    VALIDATION,
    Split,
    in_batches,
    pixel_hashes,
    stratified_indices,
)
from train.data.stored_images import Pixels
from train.data.vote_labels import VoteSource

SCHEMA = "fer-edge/accuracy/1"
BATCH = 64
DRAWN_NAME = "drawn faces"  # as in train.data.dataset.Dataset.name
SAMPLE_SEED = 0


@dataclass(frozen=True)
class Images:
    """The labelled images, in the input format of each model.

    Attributes:
        name: Name of the source, with that of the votes that the labels come from;
            ``"drawn faces"`` for the built-in set.
        split: train, validation or test.
        whole_source: The source has only training images, and all of them were taken.
        formats: The images by side in pixels, colour and fit, always in the same order.
    """

    name: str
    split: str
    whole_source: bool
    formats: dict[tuple[int, Colour, Fit], Split]

    def in_format_of(self, classifier: Classifier) -> Split:
        """Returns the images in a model's input format."""
        spec = classifier.spec
        return self.formats[spec.size_px, spec.colour, spec.fit]


def load_images(
    data: str,
    classifiers: Sequence[Classifier],
    *,
    split: str | None = None,
    limit: int | None = None,
    votes: VoteSource | None = None,
) -> Images:
    """Returns the images of one split in the input format of each model.

    Args:
        data: A folder, zip, CSV or ``"drawn"``.
        classifiers: The models, which must have the same labels.
        split: train, validation or test; None takes test, else validation, else all.
        limit: Take about this many, a seeded sample with the classes in proportion.
        votes: Raters' votes that the labels come from, instead of class folders.

    Raises:
        DatasetError: The images cannot be read or have unknown classes.
        ModelError: The models' labels differ.
    """
    labels = _common_labels(classifiers)
    name, chosen, whole = _choose_split(data, split)
    name = votes.name_with(name) if votes else name
    formats = {}
    for spec in (classifier.spec for classifier in classifiers):
        size_px, colour, fit = spec.size_px, spec.colour, spec.fit
        if (size_px, colour, fit) not in formats:
            loaded = load_split(
                data,
                split=chosen,
                size_px=size_px,
                colour=colour,
                fit=fit,
                labels=labels,
                votes=votes,
            )
            formats[size_px, colour, fit] = _sample(loaded, limit)
    return Images(name, chosen, whole, formats)


def fingerprint(images: Split, labels: Sequence[str]) -> str:
    """Returns a hash of the labels and pixels, independent of their order."""
    lines = sorted(
        f"{labels[label]} {pixels}"
        for pixels, label in zip(
            pixel_hashes(images.images), images.labels, strict=True
        )
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


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
        images: As ``load_images`` returns them for these models.
        threads: CPU threads they were opened with, for the record.

    Raises:
        MeasurementError: A model's logits have NaN or infinity.
    """
    names = unique_names(paths)
    logits, inference_s = _run_models(classifiers, images)
    reference = images.in_format_of(classifiers[0])
    models = [
        model_record(name, classifier, threads)
        | figures(model_logits, images.in_format_of(classifier), classifier.spec)
        for path, name, classifier, model_logits in zip(
            paths, names, classifiers, logits, strict=True
        )
    ]
    return {
        "schema": SCHEMA,
        "created": now(),
        "data": _data_record(images, classifiers)
        | {
            "count": len(reference.labels),
            "fingerprint": models[0]["data_fingerprint"],
        },
        "labels": list(classifiers[0].spec.labels),
        "models": models,
        "comparisons": _comparisons(names, classifiers, logits, reference),
        "gate": None,
        "seconds": {"inference": inference_s},
    }


def with_seconds(document: Document, started: float, reading_s: float) -> Document:
    """Returns the document with the durations of the command's parts, up to now.

    Args:
        document: As ``measure_accuracy`` returned it.
        started: ``time.perf_counter()`` when the command began, after the imports.
        reading_s: Seconds of finding and decoding the images.
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
        logits: float32 (N, classes) of the model.
        images: The N images with their true classes.
        spec: The model's labels and temperature.
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
        "reliability": metrics.reliability_diagram(logits, y_true, spec.temperature),
        "confusion_matrix": matrix.tolist(),
    }


def _common_labels(classifiers: Sequence[Classifier]) -> tuple[str, ...]:
    first = classifiers[0]
    for other in classifiers[1:]:
        if other.spec.labels != first.spec.labels:
            raise ModelError(
                f"expected models with the same labels in the same order:"
                f" {first.file.name} has {list(first.spec.labels)},"
                f" {other.file.name} has {list(other.spec.labels)}"
            )
    return first.spec.labels


def _choose_split(data: str, split: str | None) -> tuple[str, str, bool]:
    """Returns the source's name, the split to take, and whether that is everything."""
    if data == DRAWN:
        return DRAWN_NAME, split or TEST, False
    with open_listing(Path(data)) as source:
        present = {entry.split for entry in source.entries}
        name = source.name
    default = next((each for each in (TEST, VALIDATION) if each in present), TRAIN)
    chosen = split or default
    return name, chosen, chosen == TRAIN and present == {TRAIN}


def _sample(images: Split, limit: int | None) -> Split:
    if limit is None or limit >= len(images.labels):
        return images
    share = limit / len(images.labels)
    return images.take(stratified_indices(images.labels, share, SAMPLE_SEED))


def _run_models(
    classifiers: Sequence[Classifier], images: Images
) -> tuple[list[npt.NDArray[np.float32]], float]:
    """Returns every model's logits float32 (N, classes), and the seconds of inference.

    Raises:
        MeasurementError: They have NaN or infinity.
    """
    inputs = [images.in_format_of(classifier).images for classifier in classifiers]
    logits, seconds = [], 0.0
    with progress_counter(sum(map(len, inputs)), "classifying", unit="image") as step:
        for classifier, pixels in zip(classifiers, inputs, strict=True):
            model_logits, model_s = _logits(classifier, pixels, step)
            logits.append(model_logits)
            seconds += model_s
    return logits, seconds


def _logits(
    classifier: Classifier, images: Pixels, step: Callable[[int], None]
) -> tuple[npt.NDArray[np.float32], float]:
    parts, seconds = [], 0.0
    for batch in in_batches(images, BATCH):
        before = time.perf_counter()
        parts.append(classifier.logits(batch))
        seconds += time.perf_counter() - before
        step(len(parts[-1]))
    logits = np.concatenate(parts)
    if not np.isfinite(logits).all():
        raise MeasurementError(
            f"{classifier.file.name} answered with NaN or infinity:"
            " its accuracy means nothing; export it again"
        )
    return logits, seconds


def _comparisons(
    names: Sequence[str],
    classifiers: Sequence[Classifier],
    logits: Sequence[npt.NDArray[np.float32]],
    images: Split,
) -> list[Document]:
    first, *others = (
        Predictions.of(model_logits, classifier.spec.temperature)
        for model_logits, classifier in zip(logits, classifiers, strict=True)
    )
    labels = classifiers[0].spec.labels
    return [
        {"reference": names[0], "model": name}
        | compare(images.labels, first, other, labels=labels, names=images.names)
        for name, other in zip(names[1:], others, strict=True)
    ]


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
    """Returns whether the images chose a model's checkpoint and temperature."""
    data = spec.origin.get("data")
    if not isinstance(data, dict) or data.get("name") != images.name:
        return False
    deciding = TEST if data.get("validation_from") == TEST else VALIDATION
    return images.split == deciding
