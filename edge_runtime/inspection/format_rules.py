"""The rules of each format, and where a model breaks them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from edge_runtime.graph.ir import Tensor
from edge_runtime.inspection.analyzer import GraphSummary, LayerSummary
from edge_runtime.model_file.metadata import ModelSpec

# TFLite's converter does not quantize smaller weights of a dynamic-range file.
SMALL_WEIGHTS = 1024


@dataclass(frozen=True)
class FormatSpec:
    """The rules of a format.

    Attributes:
        compute_dtypes: Data types convolutions and matrix products may compute in.
        weight_dtypes: Data types of their weights.
        io_dtypes: Data types of the model's input and output.
        integer_only: True where all other operators compute in integers as well.
        required_dtypes: Data types that some of them must compute in.
    """

    compute_dtypes: frozenset[str]
    weight_dtypes: frozenset[str]
    io_dtypes: frozenset[str]
    integer_only: bool = False
    required_dtypes: frozenset[str] = frozenset()


_FLOAT, _INT8 = frozenset({"float32"}), frozenset({"int8"})
_INT8_IO = _FLOAT | {"int8", "uint8"}
FORMATS = {
    "tflite-float32": FormatSpec(_FLOAT, _FLOAT, _FLOAT),
    "tflite-float16": FormatSpec(_FLOAT, frozenset({"float16"}), _FLOAT),
    "tflite-dynamic-range": FormatSpec(_FLOAT | {"hybrid"}, _INT8, _FLOAT),
    "tflite-int8": FormatSpec(_INT8, _INT8, _INT8_IO, integer_only=True),
    "tflite-int16x8": FormatSpec(
        frozenset({"int16x8"}), _INT8, _FLOAT | {"int16"}, integer_only=True
    ),
    # int8 except for the operators that --max-drop or --allow-float kept in float.
    "tflite-mixed": FormatSpec(
        _FLOAT | _INT8, _FLOAT | _INT8, _INT8_IO, required_dtypes=_INT8
    ),
    "onnx-float32": FormatSpec(_FLOAT, _FLOAT, _FLOAT),
    "onnx-int8": FormatSpec(_INT8, _INT8, _INT8_IO, integer_only=True),
}


@dataclass(frozen=True)
class Violation:
    """A rule that a model breaks.

    Attributes:
        rule: Short name, such as ``"float-island"``.
        expected: What the rule demands.
        found: What is in the file.
    """

    rule: str
    expected: str
    found: str


class Findings(NamedTuple):
    """What is wrong with a file, and what is good to know.

    Attributes:
        violations: The rules that it breaks.
        notes: What breaks no rule.
    """

    violations: tuple[Violation, ...] = ()
    notes: tuple[str, ...] = ()


def format_in_name(name: str) -> str | None:
    """Returns the format a file name claims, such as ``pets.int8.tflite``'s; or None.

    The last one: ``pets.float32.int8.tflite`` was made of ``pets.float32.keras``.
    """
    parts = name.lower().split(".")
    claims = [f"{parts[-1]}-{part}" for part in reversed(parts[1:-1])]
    return next((claim for claim in claims if claim in FORMATS), None)


def check_format(
    summary: GraphSummary, format: str, *, declared: Collection[str] = ()
) -> list[Violation]:
    """Returns where a model breaks the rules of a format.

    Args:
        summary: The model's contents.
        format: One of ``FORMATS``; any other is a violation itself.
        declared: Names of the operators of BatchNorm that could not fold, from the
            file's metadata: those break no rule.
    """
    if format not in FORMATS:
        return [Violation("format", f"one of {', '.join(FORMATS)}", f"{format!r}")]
    spec = FORMATS[format]
    return [
        *_check_custom_operators(summary),
        *_check_compute(summary, spec),
        *_check_weights(summary, spec, format),
        *(_check_integers(summary, format, declared) if spec.integer_only else ()),
        *(_check_mixed(summary) if format == "tflite-mixed" else ()),
        *_check_io(summary, spec),
    ]


def check_metadata(summary: GraphSummary, spec: ModelSpec) -> list[Violation]:
    """Returns where a model contradicts its metadata."""
    violations = []
    shapes = (
        ("input-shape", summary.input, spec.input_shape),
        ("output-shape", summary.output, (len(spec.labels),)),
    )
    for rule, tensor, expected in shapes:
        if tensor is not None and tensor.shape and tensor.shape[1:] != expected:
            violations.append(
                Violation(rule, f"{expected} for each image", f"{tensor.shape[1:]}")
            )
    pixels = summary.quantized_input or summary.input
    if pixels is not None and pixels.dtype in ("int8", "uint8"):
        violations += _check_pixels(pixels)
    return violations


def collect_notes(
    summary: GraphSummary, format: str | None, *, declared: Collection[str] = ()
) -> list[str]:
    """Returns what breaks no rule but is good to know.

    Args:
        summary: The model's contents.
        format: The format it was checked against; None for a file that claims none.
        declared: As for ``check_format``.
    """
    spec = FORMATS.get(format or "")
    integer_only = spec is not None and spec.integer_only
    notes = []
    unfolded = [
        layer
        for layer in summary.unfolded
        if not integer_only or layer.name in declared
    ]
    if unfolded:
        notes.append(f"BatchNorm that did not fold: {_names(unfolded)}")
    per_tensor = [
        layer for layer in _per_tensor_layers(summary) if not _is_convolution(layer)
    ]
    if per_tensor:
        notes.append(f"one scale for all channels: {_names(per_tensor)}")
    floats = [one for one in summary.float_subgraphs if not one.macs]
    if floats and (format or "").startswith("onnx"):
        notes.append(
            "float operators between the integer ones: "
            + "; ".join(", ".join(one.operators[:4]) for one in floats[:4])
        )
    if summary.input is not None and summary.quantized_input is not None:
        notes.append(f"the {summary.input.dtype} input is quantized inside the model")
    unknown = [layer for layer in summary.layers if layer.macs is None]
    if unknown:
        notes.append(f"MACs not known, left out: {_names(unknown)}")
    return notes


def _check_custom_operators(summary: GraphSummary) -> Iterator[Violation]:
    if summary.custom_operators:
        yield Violation(
            "custom-operator",
            "operators that every runtime has",
            f"custom or Flex operators: {', '.join(summary.custom_operators[:8])}",
        )


def _check_compute(summary: GraphSummary, spec: FormatSpec) -> Iterator[Violation]:
    layers = [layer for layer in summary.layers if layer.macs != 0]
    wrong = [layer for layer in layers if layer.dtype not in spec.compute_dtypes]
    if not layers:
        yield Violation("compute", "a convolution or a matrix product", "none")
    if wrong:
        share, dtypes = summary.macs_share(wrong), {layer.dtype for layer in wrong}
        yield Violation(
            "compute",
            f"all MACs in {' or '.join(sorted(spec.compute_dtypes))}",
            f"{100 * share:.1f} % of the MACs in {', '.join(sorted(dtypes))}:"
            f" {_names(wrong)}",
        )
    missing = spec.required_dtypes - {layer.dtype for layer in layers}
    if missing:
        yield Violation(
            "compute",
            f"some MACs in each of {', '.join(sorted(spec.required_dtypes))}",
            f"none in {', '.join(sorted(missing))}",
        )


def _check_weights(
    summary: GraphSummary, spec: FormatSpec, format: str
) -> Iterator[Violation]:
    layers = [
        (layer, layer.weights) for layer in summary.layers if layer.weights is not None
    ]
    wrong = [pair for pair in layers if pair[1].dtype not in spec.weight_dtypes]
    if format == "tflite-dynamic-range" and len(wrong) < len(layers):
        wrong = [pair for pair in wrong if pair[1].elements >= SMALL_WEIGHTS]
    if wrong:
        dtypes = ", ".join(sorted({weights.dtype for _, weights in wrong}))
        yield Violation(
            "weights",
            f"{' or '.join(sorted(spec.weight_dtypes))} weights",
            f"{dtypes} weights in {len(wrong)} of {len(layers)} layers:"
            f" {_names([layer for layer, _ in wrong])}",
        )


def _check_integers(
    summary: GraphSummary, format: str, declared: Collection[str]
) -> Iterator[Violation]:
    # ONNX Runtime's quantizer leaves additions and pooling in float.
    strict = format.startswith("tflite")
    for subgraph in summary.float_subgraphs:
        if strict or subgraph.macs:
            yield Violation(
                "float-island",
                "integer operators from the first to the last",
                f"{', '.join(subgraph.operators[:6])} in float at"
                f" {_shorten(subgraph.first)}",
            )
    per_tensor = [
        layer for layer in _per_tensor_layers(summary) if _is_convolution(layer)
    ]
    if per_tensor:
        yield Violation(
            "per-tensor-weights",
            "one scale for each channel of a convolution's weights",
            f"one for all channels in {len(per_tensor)} layers: {_names(per_tensor)}",
        )
    undeclared = [layer for layer in summary.unfolded if layer.name not in declared]
    if undeclared:
        yield Violation(
            "unfolded-batchnorm",
            "BatchNorm folded into the convolution before it",
            f"scaling per channel: {_names(undeclared)}",
        )


def _check_mixed(summary: GraphSummary) -> Iterator[Violation]:
    groups = summary.float_subgraphs
    # ONNX's operators are not in capitals, and some of int8 files are in float.
    if not any(name.isupper() for group in groups for name in group.operators):
        yield Violation("compute", "an operator in float32", "none")


def _check_io(summary: GraphSummary, spec: FormatSpec) -> Iterator[Violation]:
    for rule, tensor in (("input", summary.input), ("output", summary.output)):
        dtype = tensor.dtype if tensor is not None else "none"
        if dtype not in spec.io_dtypes:
            yield Violation(
                rule, f"{rule} of {' or '.join(sorted(spec.io_dtypes))}", dtype
            )


def _check_pixels(tensor: Tensor) -> list[Violation]:
    """Returns a violation where quantizing a pixel 0..255 would lose something."""
    zero_point = -128 if tensor.dtype == "int8" else 0
    exact = (
        len(tensor.scales) == 1
        and bool(np.isclose(tensor.scales[0], 1.0, rtol=1e-6))
        and tensor.zero_points.tolist() == [zero_point]
    )
    if exact or not len(tensor.scales):
        return []
    return [
        Violation(
            "exact-pixels",
            f"{tensor.dtype} input of scale 1 and zero point {zero_point}",
            f"scale {tensor.scales.tolist()[:1]}, zero point"
            f" {tensor.zero_points.tolist()[:1]}",
        )
    ]


def _per_tensor_layers(summary: GraphSummary) -> list[LayerSummary]:
    """Returns the layers with int8 weights and one scale for all channels."""
    return [
        layer
        for layer in summary.layers
        if layer.weights is not None
        and layer.weights.dtype == "int8"
        and layer.channels > 1
        and not layer.per_channel
    ]


def _is_convolution(layer: LayerSummary) -> bool:
    return "CONV" in layer.operator.upper()


def _names(layers: Sequence[LayerSummary]) -> str:
    names = [f"{one.operator} {_shorten(one.name)}".strip() for one in layers[:3]]
    rest = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
    return ", ".join(names) + rest


def _shorten(name: str) -> str:
    return name if len(name) <= 40 else ".." + name[-38:]
