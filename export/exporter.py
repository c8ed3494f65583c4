"""The export as a whole: convert, quantize, check, measure, package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from edge_runtime.errors import DatasetError
from export import contents, onnx_model, tflite
from export.calibration import (
    FEW_IMAGES,
    Representative,
    chosen_by_run,
    chosen_from,
    refuse_leaks,
)
from export.keras_model import fold_rescaling
from export.package import (
    Draft,
    compare,
    file_bytes,
    logits_of,
    require_agreement,
    with_golden,
)
from export.ranges import Calibration, sha256_of
from export.subject import Subject, find_subject, load_data
from train import dataset
from train.dataset import Dataset
from train.splits import Split

Say = Callable[[str], None]

DEFAULT_COUNT, DEFAULT_SEED = 420, 1
CONVERTERS = ("tensorflow", "tensorflow-cpu", "ai-edge-quantizer", "tf2onnx", "onnx")


@dataclass(frozen=True)
class Item:
    """One exported file.

    Attributes:
        draft: Format and model bytes.
        content: The finished file's bytes.
        figures: Accuracy and agreement on the validation images; None if unknown.
        input: The input tensor, in words.
    """

    draft: Draft
    content: bytes
    figures: dict[str, Any] | None
    input: str


@dataclass(frozen=True)
class Export:
    """Everything one export gives.

    Attributes:
        name: Name of the run.
        items: The files, float first.
        reference: The Keras model's figures on the same images; None if unknown.
        images: Which images were measured, in words.
        data: What to give ``--data`` to measure again.
    """

    name: str
    items: list[Item]
    reference: dict[str, Any] | None
    images: str
    data: str


def export(
    name: str | None,
    *,
    int8: bool,
    labels: Sequence[str] | None,
    calibration_data: str | None,
    say: Say,
) -> Export:
    """Returns the exported files, checked but not yet written.

    Args:
        name: Run, ``.keras`` file, or None for the newest run.
        int8: Also make the two int8 files.
        labels: Class names, for a bare ``.keras`` file.
        calibration_data: Images to measure activation ranges on, instead of the run's
            own choice.
        say: Called with a line about each step.

    Raises:
        FerEdgeError: Anything missing, or a file is not what it must be.
    """
    subject = find_subject(name, labels)
    say(f"{subject.name}: {subject.spec.architecture}, {subject.path}")
    data = load_data(subject)
    folded = fold_rescaling(subject.model)
    say("converting to TFLite and ONNX")
    floats = [
        Draft("tflite-float32", tflite.to_tflite(folded)),
        Draft("onnx-float32", onnx_model.to_onnx(folded)),
    ]
    drafts, record = floats, None
    if int8:
        record = _calibrate(subject, data, floats, calibration_data, say)
        drafts = [
            floats[0],
            Draft("tflite-int8", tflite.quantize(floats[0].model, record.tflite)),
            floats[1],
            Draft("onnx-int8", onnx_model.quantize(floats[1].model, record.onnx)),
        ]
    inputs = [_check(draft) for draft in drafts]
    return _package(subject, drafts, inputs, data, record, say)


def _calibrate(
    subject: Subject,
    data: Dataset | None,
    floats: Sequence[Draft],
    calibration_data: str | None,
    say: Say,
) -> Calibration:
    """Returns recorded activation ranges, or measures and records them."""
    run = subject.run
    if run and not calibration_data:
        recorded = Calibration.load(run.ranges, subject.path)
        if recorded:
            say(f"activation ranges: recorded in {run.ranges}")
            return recorded
    images = _representative(subject, data, calibration_data)
    count = len(images.images)
    say(f"measuring activation ranges on {count} images of {images.record['source']}")
    if count < FEW_IMAGES:
        say(f"warning: {count} calibration images are few, 200 to 500 are good")
    record = Calibration(
        model_sha256=sha256_of(subject.path),
        images=images.record,
        tflite=tflite.measure_ranges(floats[0].model, images.images),
        onnx=onnx_model.measure_ranges(floats[1].model, images.images),
        accuracy={},
    )
    if run and not calibration_data:
        record.save(run.ranges)
    return record


def _representative(
    subject: Subject, data: Dataset | None, calibration_data: str | None
) -> Representative:
    spec = subject.spec
    if calibration_data:
        own = dataset.load(
            calibration_data,
            size_px=spec.size_px,
            colour=spec.colour,
            labels=spec.labels,
        )
        chosen = chosen_from(own, DEFAULT_COUNT, DEFAULT_SEED)
        refuse_leaks(chosen, data or own)
        return chosen
    if data is None or subject.run is None:
        raise DatasetError(
            f"int8 needs training images of {subject.name} once, and they are not"
            " here: name them with --calibration-data PATH"
        )
    chosen = chosen_by_run(subject.run, data)
    refuse_leaks(chosen, data)
    return chosen


def _check(draft: Draft) -> str:
    """Returns the input tensor in words, if the file is what it is called."""
    if draft.kind == "onnx":
        contents.check_onnx(draft.model, quantized=draft.quantized)
        return "float32, pixels 0..255"
    inventory = contents.tflite_contents(draft.model)
    (contents.check_int8 if draft.quantized else contents.check_float)(inventory)
    return f"{inventory.input}, pixels 0..255"


def _package(
    subject: Subject,
    drafts: Sequence[Draft],
    inputs: Sequence[str],
    data: Dataset | None,
    record: Calibration | None,
    say: Say,
) -> Export:
    spec = replace(subject.spec, origin=_origin(subject, record))
    classes = len(spec.labels)
    specs = [with_golden(spec, draft) for draft in drafts]
    known = dict(record.accuracy) if record else {}
    split = data.validation if data else None
    if split is not None and "keras" not in known:
        say(f"comparing on {len(split):,} validation images")
    reference = known.get("keras")
    answers: npt.NDArray[np.float32] | None = None
    if split is not None:
        answers = _keras_logits(subject.model, split)
        reference = known["keras"] = compare(split, answers, answers, classes)
    items = []
    for draft, one, words in zip(drafts, specs, inputs, strict=True):
        figures = known.get(draft.sha256)
        if split is not None and answers is not None:
            given = logits_of(file_bytes(one, draft), draft, split.images)
            figures = known[draft.sha256] = compare(split, answers, given, classes)
            require_agreement(draft, figures)
        accuracy = _accuracy(subject, reference, figures)
        content = file_bytes(replace(one, accuracy=accuracy), draft)
        items.append(Item(draft, content, figures, words))
    if record and subject.run and known != record.accuracy:
        replace(record, accuracy=known).save(subject.run.ranges)
    source = subject.config.data if subject.config else "PATH"
    return Export(subject.name, items, reference, "validation split", source)


def _keras_logits(model: keras.Model, split: Split) -> npt.NDArray[np.float32]:
    logits = model.predict(split.images, batch_size=512, verbose=0)
    return np.asarray(logits, dtype=np.float32)


def _origin(subject: Subject, record: Calibration | None) -> dict[str, Any]:
    """Returns the origin written into the files: no time and no path is in it."""
    versions = {}
    for name in CONVERTERS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    calibration = record.images if record else None
    return {**subject.spec.origin, "calibration": calibration, "converters": versions}


def _accuracy(
    subject: Subject,
    reference: dict[str, Any] | None,
    figures: dict[str, Any] | None,
) -> dict[str, Any]:
    if reference is None or figures is None:
        return {}
    name = subject.spec.origin.get("data", {}).get("name", "")
    return {
        "data": name,
        "split": "validation",
        "keras": reference,
        "this_file": figures,
    }
