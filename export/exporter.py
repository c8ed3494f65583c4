"""The export as a whole: convert, quantize, check, measure, package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from edge_runtime.errors import DatasetError, ModelError
from edge_runtime.inspection.analyzer import GraphSummary
from edge_runtime.inspection.verdict import UNFOLDED
from edge_runtime.model_file.metadata import ModelSpec
from export.analysis.accuracy import (
    describe_disagreement,
    measure_accuracy,
    require_agreement,
    require_same_function,
)
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
from export.convert.formats import (
    MIXED,
    FloatModels,
    MissingFormat,
    calibrated_kinds,
    convert_all,
    float_operators,
    kind_of,
)
from export.convert.pixel_scaling import fold_rescaling
from export.convert.upsampling import resize_instead
from export.options import ExportOptions, Log
from export.package import accuracy_record, file_bytes, provenance, with_golden
from export.trained_model import (
    TrainedModel,
    describe_assumptions,
    find_trained_model,
    load_run_data,
    with_words,
)
from export.verify import check_contents, describe_input, find_unfolded
from train.quantization.ranges import MeasuredRanges
from train.run.results import predict_logits

NAMES = {"tflite": "TFLite", "onnx": "ONNX"}


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
        missing: The formats that could not be made.
    """

    trained: TrainedModel
    files: list[ExportedFile]
    reference: dict[str, Any] | None
    images: str
    audit: dict[str, Any] | None = None
    analysis: Int8Analysis = field(default_factory=Int8Analysis)
    missing: Sequence[MissingFormat] = ()

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
    trained = with_words(
        find_trained_model(
            name, options.labels, options.pixels, options.size_px, options.fit
        ),
        options.subject,
        options.labels_are,
    )
    spec = trained.spec
    log(f"{trained.name}: {spec.architecture}, {trained.path}")
    if spec.subject:
        log(
            f"it looks at one {spec.subject}, its labels are called {spec.labels_are}"
            " (change: --subject, --labels-are)"
        )
    if assumed := describe_assumptions(trained, options.fit):
        log(assumed)
    folded = resize_instead(fold_rescaling(trained.model))
    floats = FloatModels(
        tflite=partial(tflite.to_tflite, folded),
        onnx=partial(onnx_model.to_onnx, folded, options.opset),
    )
    kinds = sorted({kind_of(name) for name in options.formats})
    log(f"converting to {' and '.join(NAMES[kind] for kind in kinds)}")
    conversion = _convert_from_record(trained, floats, options, log)
    conversion = conversion or _convert_from_images(trained, floats, options, log)
    inputs, record = conversion.inputs, conversion.record
    calibration_audit, analysis = None, Int8Analysis()
    if record and record.tflite.whole:
        model = floats.get("tflite")
        calibration_audit = audit(model, record.tflite.clipped, inputs)
        if options.analyzes_int8:
            analysis = analyze_int8(inputs, model, record, options, log)
            conversion = _with_mixed(conversion, analysis.mixed_models)
    files, reference, missing = _make_files(conversion, log)
    if not files:
        reasons = dict.fromkeys(one.reason for one in missing)
        raise ModelError("; ".join(reasons))
    data = inputs.evaluation_data
    images = "validation split" if data is None else f"{data.name}, validation split"
    return Export(
        trained, files, reference, images, calibration_audit, analysis, missing
    )


@dataclass(frozen=True)
class _Conversion:
    """The models, what they were made with, and the formats that could not be made."""

    inputs: CalibrationInputs
    record: CalibrationRecord | None
    models: list[ConvertedModel]
    missing: list[MissingFormat]


def _convert_from_record(
    trained: TrainedModel, floats: FloatModels, options: ExportOptions, log: Log
) -> _Conversion | None:
    """Returns the models without reading an image, or None if a figure is missing."""
    if options.calibration_data or options.analyzes_int8:
        return None
    record = load_record(trained)
    kinds = calibrated_kinds(options.formats)
    if record is None or "keras" not in record.accuracy:
        return None
    if not all(getattr(record, kind).whole for kind in kinds):
        return None
    models, missing = _convert_all(floats, record, options)
    if not all(converted.sha256 in record.accuracy for converted in models):
        return None
    if "reference" not in record.accuracy:  # of a version that knew no drift
        if _has_images(trained):
            return None
        log("no histograms for drift: the images of the run are not here")
    inputs = CalibrationInputs(trained, None, figures=record.accuracy)
    used = calibrate(inputs, floats, kinds, log) if kinds else None
    return _Conversion(inputs, used, models, missing)


def _has_images(trained: TrainedModel) -> bool:
    try:
        return load_run_data(trained) is not None
    except DatasetError:  # others than it was trained on
        return False


def _convert_from_images(
    trained: TrainedModel, floats: FloatModels, options: ExportOptions, log: Log
) -> _Conversion:
    """Returns the models, with the images as far as they are here."""
    run_data = load_run_data(trained)
    inputs, record = CalibrationInputs(trained, run_data), None
    kinds = calibrated_kinds(options.formats)
    if options.analyzes_int8 and "tflite" not in kinds:
        kinds = [*kinds, "tflite"]
    if kinds:
        inputs = gather_inputs(trained, run_data, options.calibration_data)
        record = calibrate(inputs, floats, kinds, log)
    return _Conversion(inputs, record, *_convert_all(floats, record, options))


def _convert_all(
    floats: FloatModels, record: CalibrationRecord | None, options: ExportOptions
) -> tuple[list[ConvertedModel], list[MissingFormat]]:
    nothing = MeasuredRanges()
    return convert_all(
        options.formats,
        floats,
        tflite_ranges=record.tflite if record else nothing,
        onnx_ranges=record.onnx if record else nothing,
        io=options.io,
        allow_float=options.allow_float,
    )


def _with_mixed(conversion: _Conversion, mixed: list[ConvertedModel]) -> _Conversion:
    """Returns the conversion with the models that have layers in float, if any."""
    if not mixed:
        return conversion
    others = [one for one in conversion.models if one.format != MIXED]
    return replace(conversion, models=[*others, *mixed])


@dataclass(frozen=True)
class _Checked:
    """A converted model whose format was verified."""

    converted: ConvertedModel
    summary: GraphSummary
    spec: ModelSpec


def _check(
    converted: ConvertedModel,
    trained: TrainedModel,
    record: CalibrationRecord | None,
    log: Log,
) -> _Checked:
    """Returns a model with its metadata, checked.

    Raises:
        ModelError: It is not what it is called, or answers otherwise than Keras.
    """
    summary = check_contents(converted, trained.spec)
    if find_unfolded(summary, converted.format):
        log(f"warning: {converted.format}: a BatchNorm could not fold: slower")
    if converted.format == MIXED:
        share = f"{summary.int8_share:.1%} of the MACs in int8"
        log(f"{MIXED}: {share}, in float32: {', '.join(float_operators(summary))}")
    return _Checked(converted, summary, _spec(converted, summary, trained, record))


def _make_files(
    conversion: _Conversion, log: Log
) -> tuple[list[ExportedFile], dict[str, Any] | None, list[MissingFormat]]:
    """Returns the checked and measured files, the Keras model's figures, the rest."""
    inputs, record = conversion.inputs, conversion.record
    trained, missing = inputs.trained, list(conversion.missing)
    checked: list[_Checked] = []
    for converted in conversion.models:
        try:
            checked.append(_check(converted, trained, record, log))
        except ModelError as error:
            missing.append(MissingFormat(converted.format, str(error)))
    if not checked:
        return [], None, missing
    models = [one.converted for one in checked]
    figures = measure_accuracy(
        inputs, models, [one.spec for one in checked], record, log
    )
    reference = figures.get("keras")
    log("timing one image, one thread")
    latencies_ms = median_latency_ms(models, trained.spec.input_shape)
    files = []
    for one, latency_ms in zip(checked, latencies_ms, strict=True):
        file_figures = figures.get(one.converted.sha256)
        try:
            require_agreement(one.converted, file_figures)
        except ModelError as error:
            missing.append(MissingFormat(one.converted.format, str(error)))
            continue
        if doubt := describe_disagreement(one.converted, file_figures):
            log(f"warning: {doubt}")
        spec = replace(
            one.spec,
            accuracy=accuracy_record(inputs, reference, file_figures),
            reference=figures.get("reference", {}),
        )
        files.append(
            ExportedFile(
                one.converted,
                file_bytes(spec, one.converted),
                file_figures,
                describe_input(one.summary.input),
                latency_ms,
                round(one.summary.int8_share, 5),
            )
        )
    return files, reference, missing


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
