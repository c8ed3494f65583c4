"""What each format promises, and where a file does not keep it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edge_runtime.graph.ir import Tensor
from edge_runtime.inspection.analyzer import GraphSummary, Layer
from edge_runtime.model_file.metadata import ModelSpec

# TFLite's converter leaves smaller weights as they are in a dynamic-range file.
SMALL_WEIGHTS = 1024


@dataclass(frozen=True)
class FormatSpec:
    """What a format promises.

    Attributes:
        compute: What convolutions and matrix products compute in.
        weights: The data types their weights may have.
        ends: Data types that input and output may have.
        integers: True where everything else is integer arithmetic, too.
        needs: What some of them must compute in.
    """

    compute: frozenset[str]
    weights: frozenset[str]
    ends: frozenset[str]
    integers: bool = False
    needs: frozenset[str] = frozenset()


_FLOAT, _INT8 = frozenset({"float32"}), frozenset({"int8"})
FORMATS = {
    "tflite-float32": FormatSpec(_FLOAT, _FLOAT, _FLOAT),
    "tflite-float16": FormatSpec(_FLOAT, frozenset({"float16"}), _FLOAT),
    "tflite-dynamic-range": FormatSpec(_FLOAT | {"hybrid"}, _INT8, _FLOAT),
    "tflite-int8": FormatSpec(_INT8, _INT8, _FLOAT | {"int8", "uint8"}, integers=True),
    "tflite-int16x8": FormatSpec(
        frozenset({"int16x8"}), _INT8, _FLOAT | {"int16"}, integers=True
    ),
    # int8 but for the layers that --max-drop or --float-layers kept in float.
    "tflite-mixed": FormatSpec(
        _FLOAT | _INT8,
        _FLOAT | _INT8,
        _FLOAT | {"int8", "uint8"},
        needs=_FLOAT | _INT8,
    ),
    "onnx-float32": FormatSpec(_FLOAT, _FLOAT, _FLOAT),
    "onnx-int8": FormatSpec(_INT8, _INT8, _FLOAT | {"int8", "uint8"}, integers=True),
}


@dataclass(frozen=True)
class Violation:
    """A promise that is not kept.

    Attributes:
        rule: Short name, such as ``"float-island"``.
        expected: What was promised.
        found: What is in the file.
    """

    rule: str
    expected: str
    found: str


def format_in_name(name: str) -> str | None:
    """Returns the format a file name claims, such as ``fer.int8.tflite``'s; or None."""
    parts = name.lower().split(".")
    claimed = [f"{parts[-1]}-{part}" for part in parts[1:-1]]
    return next((one for one in claimed if one in FORMATS), None)


def check_format(
    found: GraphSummary, format: str, *, declared: Collection[str] = ()
) -> list[Violation]:
    """Returns where a model breaks the promises of a format.

    Args:
        found: What is inside.
        format: One of ``FORMATS``; another is a violation of its own.
        declared: Names of the operators of BatchNorm that could not fold, as the
            file's metadata say: what is said breaks no promise.
    """
    if format not in FORMATS:
        known = ", ".join(FORMATS)
        return [Violation("format", f"one of {known}", f"{format!r}")]
    promise = FORMATS[format]
    return [
        *_custom(found),
        *_compute(found, promise),
        *_weights(found, promise, format),
        *(_integers(found, promise, format, declared) if promise.integers else ()),
        *_ends(found, promise),
    ]


def judge_metadata(found: GraphSummary, spec: ModelSpec) -> list[Violation]:
    """Returns where a model contradicts its metadata."""
    violations = []
    ends = (
        ("input-shape", found.input, spec.input_shape),
        ("output-shape", found.output, (len(spec.labels),)),
    )
    for rule, tensor, wanted in ends:
        if tensor is not None and tensor.shape and tensor.shape[1:] != wanted:
            violations.append(
                Violation(rule, f"{wanted} for each image", f"{tensor.shape[1:]}")
            )
    pixels = found.inside or found.input
    if pixels is not None and pixels.dtype in ("int8", "uint8"):
        violations += _pixels(pixels)
    return violations


def notes(
    found: GraphSummary, format: str | None, *, declared: Collection[str] = ()
) -> list[str]:
    """Returns what breaks no promise but is good to know.

    Args:
        found: What is inside.
        format: What it was judged by; None for a file that claims nothing.
        declared: As for ``check_format``.
    """
    promise = FORMATS.get(format or "")
    integers = promise is not None and promise.integers
    said = []
    known = [one for one in found.scalings if not integers or one.name in declared]
    if known:
        said.append(f"BatchNorm that did not fold: {_named(known)}")
    tensorwise = [one for one in _per_tensor(found) if not _is_convolution(one)]
    if tensorwise:
        said.append(f"one scale for all channels: {_named(tensorwise)}")
    floats = [one for one in found.islands if not one.macs]
    if floats and (format or "").startswith("onnx"):
        said.append(
            "float operators between the integer ones: "
            + "; ".join(f"{', '.join(one.operators[:4])}" for one in floats[:4])
        )
    if found.input is not None and found.inside is not None:
        said.append(f"the {found.input.dtype} input is quantized inside the model")
    unknown = [one for one in found.layers if one.macs is None]
    if unknown:
        said.append(f"MACs not known, left out: {_named(unknown)}")
    return said


def _custom(found: GraphSummary) -> Iterator[Violation]:
    if found.custom:
        yield Violation(
            "custom-operator",
            "operators that every runtime has",
            f"custom or Flex operators: {', '.join(found.custom[:8])}",
        )


def _compute(found: GraphSummary, promise: FormatSpec) -> Iterator[Violation]:
    known = [one for one in found.layers if one.macs != 0]
    other = [one for one in known if one.dtype not in promise.compute]
    if not known:
        yield Violation("compute", "a convolution or a matrix product", "none")
    if other:
        kinds = ", ".join(sorted({one.dtype for one in other}))
        yield Violation(
            "compute",
            f"all MACs in {' or '.join(sorted(promise.compute))}",
            f"{100 * found.share(other):.1f} % of the MACs in {kinds}: {_named(other)}",
        )
    missing = promise.needs - {one.dtype for one in known}
    if missing:
        yield Violation(
            "compute",
            f"some MACs in each of {', '.join(sorted(promise.needs))}",
            f"none in {', '.join(sorted(missing))}",
        )


def _weights(
    found: GraphSummary, promise: FormatSpec, format: str
) -> Iterator[Violation]:
    layers = found.weighted
    other = [one for one in layers if _dtype(one) not in promise.weights]
    if format == "tflite-dynamic-range" and len(other) < len(layers):
        other = [one for one in other if _elements(one) >= SMALL_WEIGHTS]
    if other:
        kinds = ", ".join(sorted({_dtype(one) for one in other}))
        yield Violation(
            "weights",
            f"{' or '.join(sorted(promise.weights))} weights",
            f"{kinds} weights in {len(other)} of {len(layers)} layers: {_named(other)}",
        )


def _integers(
    found: GraphSummary, promise: FormatSpec, format: str, declared: Collection[str]
) -> Iterator[Violation]:
    # ONNX Runtime's quantizer leaves additions and pooling in float.
    strict = format.startswith("tflite")
    for island in found.islands:
        if strict or island.macs:
            yield Violation(
                "float-island",
                "integer operators from the first to the last",
                f"{', '.join(island.operators[:6])} in float at {_short(island.first)}",
            )
    tensorwise = [one for one in _per_tensor(found) if _is_convolution(one)]
    if tensorwise:
        yield Violation(
            "per-tensor-weights",
            "one scale for each channel of a convolution's weights",
            f"one for all channels in {len(tensorwise)} layers: {_named(tensorwise)}",
        )
    silent = [one for one in found.scalings if one.name not in declared]
    if silent:
        yield Violation(
            "unfolded-batchnorm",
            "BatchNorm folded into the convolution before it",
            f"scaling per channel: {_named(silent)}",
        )


def _ends(found: GraphSummary, promise: FormatSpec) -> Iterator[Violation]:
    for rule, tensor in (("input", found.input), ("output", found.output)):
        dtype = tensor.dtype if tensor is not None else "none"
        if dtype not in promise.ends:
            yield Violation(
                rule, f"{rule} of {' or '.join(sorted(promise.ends))}", dtype
            )


def _pixels(tensor: Tensor) -> list[Violation]:
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


def _per_tensor(found: GraphSummary) -> list[Layer]:
    return [
        one
        for one in found.weighted
        if _dtype(one) == "int8" and one.channels > 1 and not one.per_channel
    ]


def _is_convolution(layer: Layer) -> bool:
    return "CONV" in layer.operator.upper()


def _dtype(layer: Layer) -> str:
    return layer.weights.dtype if layer.weights is not None else ""


def _elements(layer: Layer) -> int:
    return layer.weights.elements if layer.weights is not None else 0


def _named(layers: Sequence[Layer]) -> str:
    names = [f"{one.operator} {_short(one.name)}".strip() for one in layers[:3]]
    more = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
    return ", ".join(names) + more


def _short(name: str) -> str:
    return name if len(name) <= 40 else ".." + name[-38:]
