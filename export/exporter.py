"""The export as a whole: convert, quantize, check, measure, package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from export import contents, onnx_model, studies, tflite
from export.audit import audit
from export.calibrate import Material, calibrate, gather
from export.formats import choose_formats, make_draft, needs_ranges
from export.keras_model import fold_rescaling, scales_pixels
from export.latency import median_ms
from export.origin import accuracy_record, origin_of
from export.package import (
    Draft,
    compare,
    file_bytes,
    largest_difference,
    logits_of,
    require_agreement,
    require_same_function,
    with_golden,
)
from export.ranges import Calibration
from export.studies import Studies
from export.subject import find_subject, load_data
from export.wishes import Wishes
from train.splits import Split

Say = Callable[[str], None]


@dataclass(frozen=True)
class Item:
    """One exported file.

    Attributes:
        draft: Format and model bytes.
        content: The finished file's bytes.
        figures: Accuracy and agreement on the validation images; None if unknown.
        input: The input tensor, in words.
        latency_ms: Median time of one image on one thread of this machine.
        int8_share: Share of multiply-accumulates that run in int8, 0..1.
    """

    draft: Draft
    content: bytes
    figures: dict[str, Any] | None
    input: str
    latency_ms: float = 0.0
    int8_share: float = 0.0


@dataclass(frozen=True)
class Export:
    """Everything one export gives.

    Attributes:
        name: Name of the run.
        items: The files, float first.
        reference: The Keras model's figures on the same images; None if unknown.
        images: Which images were measured, in words.
        data: What to give ``--data`` to measure again.
        audit: The calibration audit, JSON-ready; None without calibrated files.
        studies: What was asked about the int8 model.
    """

    name: str
    items: list[Item]
    reference: dict[str, Any] | None
    images: str
    data: str
    audit: dict[str, Any] | None = None
    studies: Studies = field(default_factory=Studies)


def export(
    name: str | None,
    *,
    int8: bool,
    labels: Sequence[str] | None,
    calibration_data: str | None,
    say: Say,
    wishes: Wishes | None = None,
) -> Export:
    """Returns the exported files, checked but not yet written.

    Args:
        name: Run, ``.keras`` file, or None for the newest run.
        int8: Also make the two int8 files.
        labels: Class names, for a bare ``.keras`` file.
        calibration_data: Images to measure activation ranges on, instead of the run's
            own choice.
        say: Called with a line about each step.
        wishes: What else to do.

    Raises:
        FerEdgeError: Anything missing, or a file is not what it must be.
    """
    wishes = wishes or Wishes()
    formats = wishes.formats or choose_formats(None, int8=int8)
    subject = find_subject(name, labels, wishes.pixels)
    say(f"{subject.name}: {subject.spec.architecture}, {subject.path}")
    if subject.run is None and not scales_pixels(subject.model):
        say(
            "warning: it has no layer that scales pixels, and is taken to want 0..255;"
            " if it was trained on others, say so with --pixels"
        )
    data = load_data(subject)
    folded = fold_rescaling(subject.model)
    say("converting to TFLite and ONNX")
    floats = tflite.to_tflite(folded), onnx_model.to_onnx(folded)
    material, record = Material(subject, data), None
    if needs_ranges(formats) or wishes.studies:
        material = gather(subject, data, calibration_data)
        record = calibrate(material, floats, say)
    drafts = [make_draft(one, floats, record, wishes.io) for one in formats]
    found, report = Studies(), None
    if record:
        split = material.evaluation
        report = audit(
            floats[0],
            record.tflite,
            material.representative,
            material.compared,
            None if split is None else split.images,
        )
    if record and wishes.studies:
        found = studies.study(material, floats[0], record, wishes, say)
        drafts += found.drafts
    inputs = [_check(draft) for draft in drafts]
    done = _package(material, drafts, inputs, record, say)
    return replace(done, audit=report, studies=found)


def _check(draft: Draft) -> str:
    """Returns the input tensor in words, if the file is what it is called."""
    if draft.kind == "onnx":
        contents.check_onnx(draft.model, quantized=draft.quantized)
        return "float32, pixels 0..255"
    inventory = contents.check_tflite(draft.model, draft.format, draft.io)
    return f"{inventory.input}, pixels 0..255"


def _package(
    material: Material,
    drafts: Sequence[Draft],
    inputs: Sequence[str],
    record: Calibration | None,
    say: Say,
) -> Export:
    subject = material.subject
    spec = replace(subject.spec, origin=origin_of(subject, record))
    specs = [with_golden(spec, draft) for draft in drafts]
    for draft, one in zip(drafts, specs, strict=True):
        if one.golden and not draft.quantized:
            expected = keras_logits(subject.model, one.golden.inputs)
            require_same_function(draft, one.golden, expected)
    known = _figures(material, drafts, specs, record, say)
    reference = known.get("keras")
    say("timing one image, one thread")
    latencies = median_ms(drafts, spec.input_shape)
    items = [
        Item(
            draft,
            file_bytes(
                replace(
                    one,
                    accuracy=accuracy_record(
                        subject, reference, known.get(draft.sha256)
                    ),
                ),
                draft,
            ),
            known.get(draft.sha256),
            words,
            latency,
            round(contents.int8_share(draft.kind, draft.model), 5),
        )
        for draft, one, words, latency in zip(
            drafts, specs, inputs, latencies, strict=True
        )
    ]
    source = subject.config.data if subject.config else "PATH"
    return Export(subject.name, items, reference, "validation split", source)


def _figures(
    material: Material,
    drafts: Sequence[Draft],
    specs: Sequence[Any],
    record: Calibration | None,
    say: Say,
) -> dict[str, Any]:
    """Returns the figures of Keras model and files by sha256, known or measured."""
    subject = material.subject
    known = dict(record.accuracy) if record else {}
    if material.data is None:
        return known
    split: Split = material.data.validation
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
