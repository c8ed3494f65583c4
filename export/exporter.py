"""The export as a whole: convert, quantize, check, measure, package."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from edge_runtime.inspection.analyzer import GraphSummary
from edge_runtime.inspection.verdict import UNFOLDED
from edge_runtime.model_file.metadata import ModelSpec
from export.analysis.accuracy import measure_accuracy, require_same_function
from export.analysis.int8_analysis import Int8Analysis, analyze_int8
from export.analysis.latency import median_latency_ms
from export.calibration.audit import audit
from export.calibration.calibrate import (
    CalibrationInputs,
    calibrate,
    gather_inputs,
    load_record,
)
from export.calibration.record import CalibrationRecord
from export.convert import onnx_model, tflite
from export.convert.converted_model import ConvertedModel
from export.convert.formats import FloatModels, convert, needs_ranges
from export.convert.pixel_scaling import fold_rescaling
from export.convert.ranges import MeasuredRanges
from export.options import ExportOptions, Log
from export.package import accuracy_record, file_bytes, provenance, with_golden
from export.trained_model import TrainedModel, find_trained_model, load_run_data
from export.verify import check_contents, describe_input, find_unfolded
from train.run.results import predict_logits


@dataclass(frozen=True)
class ExportedFile:
    """One exported file.

    Attributes:
        converted: Format and model bytes.
        content: The file's bytes.
        figures: Accuracy and agreement on the validation images; None if unknown.
        input: The input tensor, in words.
        latency_ms: Median time of one image on one thread of this machine.
        int8_share: Share of multiply-accumulates that run in int8, 0..1.
    """

    converted: ConvertedModel
    content: bytes
    figures: dict[str, Any] | None
    input: str
    latency_ms: float
    int8_share: float


@dataclass(frozen=True)
class Export:
    """The result of an export.

    Attributes:
        trained: The model that was exported.
        files: The files, float first.
        reference: The Keras model's figures on the same images; None if unknown.
        images: Which images were measured, in words.
        audit: The calibration audit, JSON-ready; None without calibrated files.
        analysis: What was measured about the int8 model.
    """

    trained: TrainedModel
    files: list[ExportedFile]
    reference: dict[str, Any] | None
    images: str
    audit: dict[str, Any] | None = None
    analysis: Int8Analysis = field(default_factory=Int8Analysis)

    @property
    def name(self) -> str:
        """Name of the run, and of the files."""
        return self.trained.name


def export(name: str | None, options: ExportOptions, log: Log) -> Export:
    """Returns the exported files, checked but not yet written.

    Args:
        name: Run, ``.keras`` file, or None for the newest run.
        options: What to export and to measure.
        log: Called with a line about each step.

    Raises:
        FerEdgeError: Something is missing, or a file is not what it must be.
    """
    trained = find_trained_model(name, options.labels, options.pixels, options.size_px)
    log(f"{trained.name}: {trained.spec.architecture}, {trained.path}")
    folded = fold_rescaling(trained.model)
    log("converting to TFLite and ONNX")
    floats = FloatModels(tflite.to_tflite(folded), onnx_model.to_onnx(folded))
    conversion = _convert_from_record(trained, floats, options, log)
    conversion = conversion or _convert_from_images(trained, floats, options, log)
    inputs, record = conversion.inputs, conversion.record
    calibration_audit, analysis = None, Int8Analysis()
    if record:
        calibration_audit = audit(floats.tflite, record.tflite.clipped, inputs)
    if record and options.analyzes_int8:
        analysis = analyze_int8(inputs, floats.tflite, record, options, log)
        conversion.models.extend(analysis.mixed_models)
    files, reference = _make_files(conversion, log)
    data = inputs.evaluation_data
    images = "validation split" if data is None else f"{data.name}, validation split"
    return Export(trained, files, reference, images, calibration_audit, analysis)


@dataclass(frozen=True)
class _Conversion:
    """The models, and what they were made with."""

    inputs: CalibrationInputs
    record: CalibrationRecord | None
    models: list[ConvertedModel]


def _convert_from_record(
    trained: TrainedModel, floats: FloatModels, options: ExportOptions, log: Log
) -> _Conversion | None:
    """Returns the models without reading an image, or None if a figure is missing."""
    if options.calibration_data or options.analyzes_int8:
        return None
    record = load_record(trained)
    if record is None or "keras" not in record.accuracy:
        return None
    models = _convert_all(floats, record, options)
    if not all(converted.sha256 in record.accuracy for converted in models):
        return None
    inputs = CalibrationInputs(trained, None, figures=record.accuracy)
    calibrated = needs_ranges(options.formats)
    return _Conversion(
        inputs, calibrate(inputs, floats, log) if calibrated else None, models
    )


def _convert_from_images(
    trained: TrainedModel, floats: FloatModels, options: ExportOptions, log: Log
) -> _Conversion:
    """Returns the models, with the images as far as they are here."""
    run_data = load_run_data(trained)
    inputs, record = CalibrationInputs(trained, run_data), None
    if needs_ranges(options.formats) or options.analyzes_int8:
        inputs = gather_inputs(trained, run_data, options.calibration_data)
        record = calibrate(inputs, floats, log)
    return _Conversion(inputs, record, _convert_all(floats, record, options))


def _convert_all(
    floats: FloatModels, record: CalibrationRecord | None, options: ExportOptions
) -> list[ConvertedModel]:
    no_ranges = MeasuredRanges()
    return [
        convert(
            name,
            floats,
            tflite_ranges=record.tflite if record else no_ranges,
            onnx_ranges=record.onnx if record else no_ranges,
            io=options.io,
        )
        for name in options.formats
    ]


def _make_files(
    conversion: _Conversion, log: Log
) -> tuple[list[ExportedFile], dict[str, Any] | None]:
    """Returns the checked and measured files, and the Keras model's figures."""
    inputs, record, models = conversion.inputs, conversion.record, conversion.models
    trained = inputs.trained
    summaries = [check_contents(converted, trained.spec) for converted in models]
    for converted, summary in zip(models, summaries, strict=True):
        if find_unfolded(summary, converted.format):
            log(f"warning: {converted.format}: a BatchNorm could not fold: slower")
    specs = [
        _spec(converted, summary, trained, record)
        for converted, summary in zip(models, summaries, strict=True)
    ]
    figures = measure_accuracy(inputs, models, specs, record, log)
    reference = figures.get("keras")
    log("timing one image, one thread")
    latencies_ms = median_latency_ms(models, trained.spec.input_shape)
    files = []
    for converted, spec, summary, latency_ms in zip(
        models, specs, summaries, latencies_ms, strict=True
    ):
        file_figures = figures.get(converted.sha256)
        accuracy = accuracy_record(inputs, reference, file_figures)
        files.append(
            ExportedFile(
                converted,
                file_bytes(replace(spec, accuracy=accuracy), converted),
                file_figures,
                describe_input(summary.input),
                latency_ms,
                round(summary.int8_share, 5),
            )
        )
    return files, reference


def _spec(
    converted: ConvertedModel,
    summary: GraphSummary,
    trained: TrainedModel,
    record: CalibrationRecord | None,
) -> ModelSpec:
    """Returns a file's metadata without its accuracy; checks a float file's logits."""
    origin = provenance(trained, record)
    unfolded = find_unfolded(summary, converted.format)
    if unfolded:
        origin[UNFOLDED] = unfolded
    spec = with_golden(replace(trained.spec, origin=origin), converted)
    if spec.golden and not converted.quantized:
        reference = predict_logits(trained.model, spec.golden.inputs)
        require_same_function(converted, spec.golden, reference)
    return spec
