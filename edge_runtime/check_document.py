"""A check as a JSON document, schema ``fer-edge/check/1``: see docs/check.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_runtime.container import ModelFile
from edge_runtime.graph import Tensor
from edge_runtime.inventory import Inventory, Layer
from edge_runtime.spec import ModelSpec
from edge_runtime.verdict import Replay, Verdict

CHECK_SCHEMA = "fer-edge/check/1"


def check_document(
    path: Path,
    file: ModelFile,
    spec: ModelSpec | None,
    inventory: Inventory,
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


def _macs_document(inventory: Inventory) -> dict[str, Any]:
    int8 = [one for one in inventory.layers if one.dtype == "int8"]
    return {"total": inventory.macs, "int8_share": round(inventory.share(int8), 6)}


def _operators(inventory: Inventory) -> list[dict[str, Any]]:
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


def _weights_document(inventory: Inventory) -> dict[str, Any]:
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
