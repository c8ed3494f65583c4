"""The JSON document of ``check``, ``fer-edge/check/1``; see docs/how-to/check.md."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_runtime.errors import MetadataError
from edge_runtime.graph.ir import Tensor
from edge_runtime.inspection.analyzer import GraphSummary, LayerSummary
from edge_runtime.inspection.foreign_rules import foreign_document
from edge_runtime.inspection.verdict import Replay, Verdict
from edge_runtime.model_file.container import ModelFile
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.model_file.reference import EDGES, USUAL, read_reference
from edge_runtime.model_file.statements import Statements

CHECK_SCHEMA = "fer-edge/check/1"

Document = dict[str, Any]


def check_document(
    path: Path,
    file: ModelFile,
    spec: ModelSpec | None,
    summary: GraphSummary | None,
    replay: Replay,
    verdict: Verdict,
    stated: Statements | None = None,
) -> Document:
    """Returns everything known about a model file, JSON-ready.

    Args:
        path: The file's path.
        file: The model file.
        spec: Its metadata; None for a file without.
        summary: Its contents; None where the graph could not be read.
        replay: The result of running it on its golden vectors.
        verdict: The verdict on it.
        stated: What a file without metadata says itself.
    """
    return {
        "schema": CHECK_SCHEMA,
        "file": str(path),
        "kind": file.kind,
        "size_bytes": file.size,
        "sha256": file.sha256,
        **_metadata(spec),
        "stated": foreign_document(file, stated) if stated else None,
        "backend": _backend(replay),
        "golden": _golden(spec, replay),
        **_graph(summary),
        "verdict": asdict(verdict),
    }


def _metadata(spec: ModelSpec | None) -> Document:
    if spec is None:
        return {"metadata": False, "format": "", "labels": []}
    return {
        "metadata": True,
        "format": spec.format,
        "architecture": spec.architecture,
        "labels": list(spec.labels),
        "subject": spec.subject,
        "labels_are": spec.labels_are,
        "image": {"size_px": spec.size_px, "colour": spec.colour, "fit": spec.fit},
        "crop_margin_frac": spec.crop_margin_frac,
        "temperature": spec.temperature,
        "accuracy": spec.accuracy,
        "origin": spec.origin,
        "reference": _reference(spec),
    }


def _reference(spec: ModelSpec) -> Document | None:
    """Returns what the histograms for drift say; None where the file has none."""
    try:
        reference = read_reference(spec.reference, len(spec.labels))
    except MetadataError as error:
        return {"error": str(error)}
    if reference is None:
        return None
    ranges = {name: reference.quantiles(name, *USUAL) for name in EDGES}
    return {
        "images": reference.images,
        **{name: [round(value, 2) for value in ends] for name, ends in ranges.items()},
        "labels": reference.labels.tolist(),
    }


def _backend(replay: Replay) -> Document | None:
    if replay.classifier is None:
        return None
    backend = replay.classifier.backend
    return {"name": backend.name, "version": backend.version, "threads": replay.threads}


def _golden(spec: ModelSpec | None, replay: Replay) -> Document | None:
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


GRAPH_KEYS = (
    *("input", "output", "macs", "operators", "weights", "float_islands"),
    *("custom_operators", "unfolded_batchnorm", "layers"),
)


def _graph(summary: GraphSummary | None) -> Document:
    if summary is None:
        return dict.fromkeys(GRAPH_KEYS)
    return {
        "input": _tensor(summary.input, summary.quantized_input),
        "output": _tensor(summary.output, None),
        "macs": {"total": summary.macs, "int8_share": round(summary.int8_share, 6)},
        "operators": _operators(summary),
        "weights": _weights(summary),
        "float_islands": [asdict(subgraph) for subgraph in summary.float_subgraphs],
        "custom_operators": list(summary.custom_operators),
        "unfolded_batchnorm": [layer.name for layer in summary.unfolded],
        "layers": [_layer(layer) for layer in summary.layers],
    }


def _tensor(tensor: Tensor | None, quantized: Tensor | None) -> Document | None:
    if tensor is None:
        return None
    per_tensor = len(tensor.scales) == 1 and len(tensor.zero_points) == 1
    return {
        "shape": None if tensor.shape is None else list(tensor.shape),
        "dtype": tensor.dtype,
        "scale": float(tensor.scales[0]) if per_tensor else None,
        "zero_point": int(tensor.zero_points[0]) if per_tensor else None,
        "quantized_inside": _tensor(quantized, None),
    }


def _operators(summary: GraphSummary) -> list[Document]:
    """Returns the operators by type and data type, most MACs first."""
    groups: dict[tuple[str, str], list[LayerSummary]] = {}
    for layer in summary.layers:
        groups.setdefault((layer.operator, layer.dtype), []).append(layer)
    rows = [
        {
            "operator": operator,
            "dtype": dtype,
            "count": len(group),
            "macs": sum(layer.macs or 0 for layer in group),
            "share": round(summary.macs_share(group), 6),
        }
        for (operator, dtype), group in groups.items()
    ]
    return sorted(rows, key=lambda row: (-int(row["macs"]), str(row["operator"])))


def _weights(summary: GraphSummary) -> Document:
    elements: dict[str, int] = {}
    int8 = per_channel = 0
    for layer in summary.layers:
        if layer.weights is None:
            continue
        count = layer.weights.elements
        elements[layer.weights.dtype] = elements.get(layer.weights.dtype, 0) + count
        if layer.weights.dtype == "int8":
            int8 += count
            per_channel += count if layer.per_channel else 0
    return {
        "elements": elements,
        "int8_per_channel_share": round(per_channel / int8, 6) if int8 else None,
        "constant_bytes": sum(layer.bytes for layer in summary.layers),
    }


def _layer(layer: LayerSummary) -> Document:
    return {
        "name": layer.name,
        "operator": layer.operator,
        "dtype": layer.dtype,
        "macs": layer.macs,
        "weights": layer.weights.dtype if layer.weights is not None else None,
        "per_channel": layer.per_channel if layer.weights is not None else None,
        "bytes": layer.bytes,
    }
