"""The JSON document of an export, ``fer-edge/export/2``; see docs/how-to/export.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from edge_runtime.hardware.board import read_cpu
from export.analysis.debugger import LayerError
from export.analysis.int8_analysis import Int8Analysis
from export.convert.formats import DIAGNOSTIC
from export.exporter import Export
from export.trained_model import TrainedModel

SCHEMA = "fer-edge/export/2"
LIBRARIES = ("ai-edge-litert", "onnxruntime", "numpy")
KEPT_OF_DATA = ("name", "fingerprint", "validation_from")

Document = dict[str, Any]


def to_document(export: Export, paths: Sequence[Path]) -> Document:
    """Returns everything about an export, JSON-ready.

    Args:
        export: The result.
        paths: Where its files are written.
    """
    analysis = export.analysis
    return {
        "schema": SCHEMA,
        "run": export.name,
        "images": export.images,
        "conditions": environment(export.trained),
        "keras": export.reference,
        "files": [
            {
                "file": path.name,
                "format": file.converted.format,
                "diagnostic": file.converted.format == DIAGNOSTIC,
                "bytes": len(file.content),
                "model_sha256": file.converted.sha256,
                "figures": file.figures,
                "latency_ms": file.latency_ms,
                "int8_share": file.int8_share,
                "input": file.input,
            }
            for path, file in zip(paths, export.files, strict=True)
        ],
        "missing": [one._asdict() for one in export.missing],
        "audit": export.audit,
        "spread": analysis.spread,
        "layers": None if analysis.layers is None else _layers(analysis.layers),
        "exceptions": None if analysis.attempts is None else _exceptions(analysis),
    }


def _layers(layers: Sequence[LayerError]) -> list[Document]:
    return [
        {
            "layer": error.layer.label,
            "operator": error.layer.operator,
            "answer_snr_db": error.answer_snr_db,
            "own_snr_db": error.own_snr_db,
            "error_steps": error.error_steps,
            "whole_snr_db": error.whole_snr_db,
            "lost_channels": error.lost_channels,
            "channels": error.channels,
            "step": error.layer.step,
        }
        for error in layers
    ]


def _exceptions(analysis: Int8Analysis) -> Document:
    float_latency_ms, *latencies_ms = analysis.latencies_ms
    return {
        "max_drop_points": analysis.max_drop,
        "passed": analysis.passed,
        "float32_latency_ms": float_latency_ms,
        "steps": [
            {
                "float_layers": list(attempt.layers),
                "float_operators": attempt.operators,
                "accuracy": round(attempt.accuracy, 5),
                "drop_points": attempt.drop_points,
                "bytes": len(attempt.model),
                "latency_ms": latency_ms,
                "holds": attempt.drop_points <= analysis.max_drop,
            }
            for attempt, latency_ms in zip(
                analysis.attempts or [], latencies_ms, strict=True
            )
        ],
    }


def environment(trained: TrainedModel) -> dict[str, Any]:
    """Returns data, revision, libraries, machine and threads, JSON-ready.

    It contains no path, host name or user name. What is not known is None or empty.
    """
    origin = trained.spec.origin
    data = origin.get("data", {})
    return {
        "data": {key: data[key] for key in KEPT_OF_DATA if key in data},
        "git_revision": origin.get("git_revision"),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "machine": {
            "cpu": read_cpu().name,
            "architecture": platform.machine(),
            "cores": os.cpu_count(),
            "load_average": round(os.getloadavg()[0], 2),
        },
        "threads": 1,
    }
