"""The export as a whole: convert, quantize, check, measure, package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edge_runtime.inspection.analyzer import GraphSummary
from edge_runtime.inspection.verdict import UNFOLDED
from edge_runtime.model_file.metadata import ModelSpec
from export import contents
from export.analysis import studies
from export.analysis.studies import Int8Analysis
from export.calibration.audit import audit
from export.calibration.calibrate import CalibrationInputs, calibrate, gather, recorded
from export.calibration.ranges import Calibration
from export.convert import onnx_model, tflite
from export.convert.formats import choose_formats, make_draft, needs_ranges
from export.convert.keras_model import fold_rescaling, scales_pixels
from export.options import ExportOptions
from export.package import (
    ConvertedModel,
    file_bytes,
    require_same_function,
    with_golden,
)
from export.report.environment import environment
from export.report.figures import images_in_words, keras_logits, known_figures
from export.report.latency import median_ms
from export.report.provenance import accuracy_record, provenance
from export.trained_model import TrainedModel, find_subject, load_data

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

    draft: ConvertedModel
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
        labels: Class names in order.
        audit: The calibration audit, JSON-ready; None without calibrated files.
        studies: What was asked about the int8 model.
        conditions: Data, revision, libraries and machine, JSON-ready.
    """

    name: str
    items: list[Item]
    reference: dict[str, Any] | None
    images: str
    data: str
    labels: tuple[str, ...]
    audit: dict[str, Any] | None = None
    studies: Int8Analysis = field(default_factory=Int8Analysis)
    conditions: dict[str, Any] = field(default_factory=dict)


def export(
    name: str | None,
    *,
    int8: bool,
    labels: Sequence[str] | None,
    calibration_data: str | None,
    say: Say,
    wishes: ExportOptions | None = None,
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
    wishes = wishes or ExportOptions()
    formats = wishes.formats or choose_formats(None, int8=int8)
    subject = find_subject(name, labels, wishes.pixels)
    say(f"{subject.name}: {subject.spec.architecture}, {subject.path}")
    if subject.run is None and not scales_pixels(subject.model):
        say(
            "warning: it has no layer that scales pixels, and is taken to want 0..255;"
            " if it was trained on others, say so with --pixels"
        )
    folded = fold_rescaling(subject.model)
    say("converting to TFLite and ONNX")
    floats = tflite.to_tflite(folded), onnx_model.to_onnx(folded)
    wishes = replace(wishes, formats=formats)
    ready = None
    if not (calibration_data or wishes.studies):
        ready = _from_record(subject, floats, wishes, say)
    ready = ready or _from_images(subject, floats, wishes, calibration_data, say)
    material, record, drafts = ready.material, ready.record, ready.drafts
    found, report = Int8Analysis(), None
    if record:
        split = material.evaluation
        report = audit(
            floats[0],
            record.tflite.clipped,
            material.representative,
            material.compared,
            None if split is None else split.images,
        )
    if record and wishes.studies:
        found = studies.study(material, floats[0], record, wishes, say)
        drafts += found.drafts
    checked = [_check(draft) for draft in drafts]
    for one in checked:
        if contents.unfolded(one.inside, one.draft.format):
            say(f"warning: {one.draft.format}: a BatchNorm could not fold: slower")
    done = _package(material, checked, record, say)
    return replace(done, audit=report, studies=found)


@dataclass(frozen=True)
class _Ready:
    """The models, and what they were made with; ``record`` holds what they need."""

    material: CalibrationInputs
    record: Calibration | None
    drafts: list[ConvertedModel]


def _from_record(
    subject: TrainedModel, floats: tuple[bytes, bytes], wishes: ExportOptions, say: Say
) -> _Ready | None:
    """Returns the models without reading an image, or None if a figure is missing."""
    record, formats = recorded(subject), wishes.formats or ()
    if record is None or "keras" not in record.accuracy:
        return None
    drafts = [make_draft(one, floats, record, wishes.io) for one in formats]
    if not all(draft.sha256 in record.accuracy for draft in drafts):
        return None
    material = CalibrationInputs(subject, None, figures=record.accuracy)
    used = calibrate(material, floats, say) if needs_ranges(formats) else None
    return _Ready(material, used, drafts)


def _from_images(
    subject: TrainedModel,
    floats: tuple[bytes, bytes],
    wishes: ExportOptions,
    calibration_data: str | None,
    say: Say,
) -> _Ready:
    """Returns the models, with the images as far as they are here."""
    data, formats = load_data(subject), wishes.formats or ()
    material, record = CalibrationInputs(subject, data), None
    if needs_ranges(formats) or wishes.studies:
        material = gather(subject, data, calibration_data)
        record = calibrate(material, floats, say)
    drafts = [make_draft(one, floats, record, wishes.io) for one in formats]
    return _Ready(material, record, drafts)


@dataclass(frozen=True)
class _Checked:
    """A draft that is what it is called, and what is inside."""

    draft: ConvertedModel
    input: str
    inside: GraphSummary


def _check(draft: ConvertedModel) -> _Checked:
    """Returns the draft with what is inside, if it is what it is called."""
    if draft.kind == "onnx":
        contents.check_onnx(draft.model, quantized=draft.quantized)
        words = "float32, pixels 0..255"
    else:
        found = contents.check_tflite(draft.model, draft.format, draft.io)
        words = f"{found.input}, pixels 0..255"
    return _Checked(draft, words, contents.inventory_of(draft.model, draft.format))


def _package(
    material: CalibrationInputs,
    checked: Sequence[_Checked],
    record: Calibration | None,
    say: Say,
) -> Export:
    subject = material.subject
    drafts = [one.draft for one in checked]
    specs = [_spec_for(one, subject, record) for one in checked]
    for draft, spec in zip(drafts, specs, strict=True):
        if spec.golden and not draft.quantized:
            expected = keras_logits(subject.model, spec.golden.inputs)
            require_same_function(draft, spec.golden, expected)
    known = known_figures(material, drafts, specs, record, say)
    reference = known.get("keras")
    say("timing one image, one thread")
    latencies = median_ms(drafts, subject.spec.input_shape)
    items = []
    for one, spec, latency in zip(checked, specs, latencies, strict=True):
        figures = known.get(one.draft.sha256)
        accuracy = accuracy_record(material, reference, figures)
        content = file_bytes(replace(spec, accuracy=accuracy), one.draft)
        share = round(contents.int8_share(one.inside), 5)
        items.append(Item(one.draft, content, figures, one.input, latency, share))
    source = subject.config.data if subject.config else "PATH"
    words = images_in_words(material)
    labels = subject.spec.labels
    done = Export(subject.name, items, reference, words, source, labels)
    return replace(done, conditions=environment(subject))


def _spec_for(
    one: _Checked, subject: TrainedModel, record: Calibration | None
) -> ModelSpec:
    """Returns what a file tells of itself, without its accuracy."""
    origin = provenance(subject, record)
    unfolded = contents.unfolded(one.inside, one.draft.format)
    if unfolded:
        origin[UNFOLDED] = unfolded
    return with_golden(replace(subject.spec, origin=origin), one.draft)
