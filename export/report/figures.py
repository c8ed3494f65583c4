"""How good the Keras model and the exported files are on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from edge_runtime.model_file.metadata import ModelSpec
from export.calibration.calibrate import CalibrationInputs
from export.calibration.ranges import Calibration
from export.package import (
    ConvertedModel,
    compare,
    file_bytes,
    largest_difference,
    logits_of,
    require_agreement,
)

Say = Callable[[str], None]


def known_figures(
    material: CalibrationInputs,
    drafts: Sequence[ConvertedModel],
    specs: Sequence[ModelSpec],
    record: Calibration | None,
    say: Say,
) -> dict[str, Any]:
    """Returns the figures of the files by sha256, and of the Keras model as "keras".

    Figures that are all on record stay as they are, for another machine may round the
    Keras model's answers otherwise. Else they are measured, where images are here.

    Args:
        material: Model and images.
        drafts: The models.
        specs: What their files tell, with golden vectors.
        record: Ranges and figures of an earlier export; new figures are saved in it.
        say: Called with a line about each step.

    Raises:
        ModelError: A float file answers otherwise than the Keras model.
    """
    if material.figures is not None:
        say("figures: recorded")
        return material.figures
    subject, split = material.subject, material.evaluation
    known = dict(record.accuracy) if record else {}
    if split is None:
        return known
    say(f"comparing on {len(split):,} validation images")
    classes = len(subject.spec.labels)
    answers = keras_logits(subject.model, split.images)
    known["keras"] = compare(split, answers, answers, classes)
    for draft, spec in zip(drafts, specs, strict=True):
        given = logits_of(file_bytes(spec, draft), draft, split.images)
        known[draft.sha256] = {
            **compare(split, answers, given, classes),
            "largest_logit_difference": largest_difference(answers, given),
        }
        require_agreement(draft, known[draft.sha256])
    run = subject.run
    if record and run and material.own is None and known != record.accuracy:
        replace(record, accuracy=known).save(run.ranges)
    return known


def keras_logits(
    model: keras.Model, images: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """Returns the Keras model's logits, float32 (N, classes).

    Args:
        model: Raw pixels in, logits out.
        images: uint8 (N, S, S, C).
    """
    logits = model.predict(images, batch_size=512, verbose=0)
    return np.asarray(logits, dtype=np.float32)


def images_in_words(material: CalibrationInputs) -> str:
    """Returns which images were measured."""
    source = material.measured_on
    if source is None:
        return "validation split"
    return f"{source.name}, validation split"
