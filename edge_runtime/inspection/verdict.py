"""The verdict on a model file: is it what it says it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.errors import FerEdgeError, GoldenVectorError
from edge_runtime.graph.ir import Tensor
from edge_runtime.inference.classifier import Classifier
from edge_runtime.inspection.analyzer import GraphSummary, Layer
from edge_runtime.inspection.format_rules import (
    Violation,
    check_format,
    format_in_name,
    judge_metadata,
    notes,
)
from edge_runtime.model_file.container import ModelFile
from edge_runtime.model_file.metadata import ModelSpec

UNFOLDED = "unfolded_batchnorm"  # in the metadata's origin


@dataclass(frozen=True)
class Replay:
    """What came of running the model.

    Attributes:
        classifier: The loaded model; None where it was not run.
        error: Why not; None where it ran, or there was no reason to run it.
        threads: CPU threads it was run with.
    """

    classifier: Classifier | None = None
    error: FerEdgeError | None = None
    threads: int = 1


@dataclass(frozen=True)
class Verdict:
    """Whether a file is what it says it is.

    Attributes:
        format: What it was judged as; None for a file that claims nothing.
        judged_by: ``"metadata"``, ``"--expect"``, ``"file name"`` or None.
        violations: Promises that it breaks.
        notes: What breaks no promise but is good to know.
    """

    format: str | None
    judged_by: str | None
    violations: tuple[Violation, ...]
    notes: tuple[str, ...]


def evaluate(
    file: ModelFile,
    spec: ModelSpec | None,
    inventory: GraphSummary,
    *,
    expect: str | None = None,
    replay: Replay | None = None,
) -> Verdict:
    """Returns whether a file is what it says it is.

    Args:
        file: The model file.
        spec: What its metadata say; None for a file without.
        inventory: What is inside.
        expect: What somebody says it must be.
        replay: What came of running it; its golden vectors are judged, too.
    """
    format, judged_by = _claim(file, spec, expect)
    declared = _declared(spec)
    violations = check_format(inventory, format, declared=declared) if format else []
    if spec is not None:
        violations += judge_metadata(inventory, spec)
    claims = {
        "--expect": expect,
        "metadata": spec.format if spec else None,
        "file name": format_in_name(file.name),
    }
    for source, claimed in claims.items():
        if claimed and claimed != format:
            expected = f"{format} ({judged_by})"
            violations.append(Violation("name", expected, f"{claimed} ({source})"))
    if replay is not None and isinstance(replay.error, GoldenVectorError):
        violations.append(
            Violation("golden-vectors", "the exporter's answers", str(replay.error))
        )
    said = notes(inventory, format, declared=declared)
    return Verdict(format, judged_by, tuple(violations), tuple(said))


def _declared(spec: ModelSpec | None) -> tuple[str, ...]:
    """Returns the operators of BatchNorm that the metadata say did not fold."""
    said = spec.origin.get(UNFOLDED) if spec is not None else None
    if not isinstance(said, list):
        return ()
    return tuple(one for one in said if isinstance(one, str))


def _claim(
    file: ModelFile, spec: ModelSpec | None, expect: str | None
) -> tuple[str | None, str | None]:
    """Returns the format a file is judged as, and who says so."""
    if expect:
        return expect, "--expect"
    if spec is not None and spec.format:
        return spec.format, "metadata"
    claimed = format_in_name(file.name)
    return claimed, "file name" if claimed else None


CHECK_SCHEMA = "fer-edge/check/1"


def check_document(
    path: Path,
    file: ModelFile,
    spec: ModelSpec | None,
    inventory: GraphSummary,
    replay: Replay,
    verdict: Verdict,
) -> dict[str, Any]:
    """Returns all that is known of a model file, JSON-ready; see docs/check.md."""
    return {
        "schema": CHECK_SCHEMA,
        "file": str(path),
        "kind": file.kind,
        "size_bytes": file.size,
        "sha256": file.sha256,
        **_metadata_document(spec),
        "input": _tensor_document(inventory.input, inventory.inside),
        "output": _tensor_document(inventory.output, None),
        "backend": _backend_document(replay),
        "golden": _golden_document(spec, replay),
        "macs": _macs_document(inventory),
        "operators": _operators(inventory),
        "weights": _weights_document(inventory),
        "float_islands": [
            {"operators": list(one.operators), "first": one.first, "macs": one.macs}
            for one in inventory.islands
        ],
        "custom_operators": list(inventory.custom),
        "unfolded_batchnorm": [one.name for one in inventory.scalings],
        "layers": [_layer_document(one) for one in inventory.layers],
        "verdict": {
            "format": verdict.format,
            "judged_by": verdict.judged_by,
            "passed": not verdict.violations,
            "violations": [one.__dict__ for one in verdict.violations],
            "notes": list(verdict.notes),
        },
    }


def _metadata_document(spec: ModelSpec | None) -> dict[str, Any]:
    if spec is None:
        return {"metadata": False, "format": "", "labels": []}
    return {
        "metadata": True,
        "format": spec.format,
        "architecture": spec.architecture,
        "labels": list(spec.labels),
        "image": {"size_px": spec.size_px, "colour": spec.colour},
        "crop_margin_frac": spec.crop_margin_frac,
        "temperature": spec.temperature,
        "accuracy": spec.accuracy,
        "origin": spec.origin,
    }


def _tensor_document(
    tensor: Tensor | None, inside: Tensor | None
) -> dict[str, Any] | None:
    if tensor is None:
        return None
    per_tensor = len(tensor.scales) == 1 and len(tensor.zero_points) == 1
    return {
        "shape": None if tensor.shape is None else list(tensor.shape),
        "dtype": tensor.dtype,
        "scale": float(tensor.scales[0]) if per_tensor else None,
        "zero_point": int(tensor.zero_points[0]) if per_tensor else None,
        "quantized_inside": _tensor_document(inside, None),
    }


def _backend_document(replay: Replay) -> dict[str, Any] | None:
    if replay.classifier is None:
        return None
    backend = replay.classifier.backend
    return {
        "name": backend.name,
        "version": backend.version,
        "threads": replay.threads,
    }


def _golden_document(spec: ModelSpec | None, replay: Replay) -> dict[str, Any] | None:
    if spec is None or spec.golden is None:
        return None
    golden, classifier = spec.golden, replay.classifier
    difference = None
    if classifier is not None and classifier.golden_difference is not None:
        difference = round(classifier.golden_difference, 6)
    return {
        "count": len(golden.inputs),
        "largest_difference": difference,
        "tolerance": golden.tolerance,
        "tolerance_elsewhere": golden.tolerance_elsewhere,
        "exported_with": f"{golden.runtime} {golden.version}",
        "error": str(replay.error) if replay.error else None,
    }


def _macs_document(inventory: GraphSummary) -> dict[str, Any]:
    int8 = [one for one in inventory.layers if one.dtype == "int8"]
    return {"total": inventory.macs, "int8_share": round(inventory.share(int8), 6)}


def _operators(inventory: GraphSummary) -> list[dict[str, Any]]:
    """Returns the operators by type and data type, the costly first."""
    groups: dict[tuple[str, str], list[Layer]] = {}
    for one in inventory.layers:
        groups.setdefault((one.operator, one.dtype), []).append(one)
    rows = [
        {
            "operator": operator,
            "dtype": dtype,
            "count": len(group),
            "macs": sum(one.macs or 0 for one in group),
            "share": round(inventory.share(group), 6),
        }
        for (operator, dtype), group in groups.items()
    ]
    return sorted(rows, key=lambda row: (-int(row["macs"]), str(row["operator"])))


def _weights_document(inventory: GraphSummary) -> dict[str, Any]:
    elements: dict[str, int] = {}
    int8 = per_channel = 0
    for one in inventory.weighted:
        if one.weights is None:
            continue
        count = one.weights.elements
        elements[one.weights.dtype] = elements.get(one.weights.dtype, 0) + count
        if one.weights.dtype == "int8":
            int8 += count
            per_channel += count if one.per_channel else 0
    return {
        "elements": elements,
        "int8_per_channel_share": round(per_channel / int8, 6) if int8 else None,
        "constant_bytes": sum(one.bytes for one in inventory.layers),
    }


def _layer_document(layer: Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "operator": layer.operator,
        "dtype": layer.dtype,
        "macs": layer.macs,
        "weights": layer.weights.dtype if layer.weights is not None else None,
        "per_channel": layer.per_channel if layer.weights is not None else None,
        "bytes": layer.bytes,
    }
