"""The JSON document of an export, ``fer-edge/export/2``; see docs/how-to/export.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.analysis.debugger import LayerError
from export.analysis.int8_analysis import Int8Analysis
from export.convert.formats import DIAGNOSTIC
from export.exporter import Export
from export.report.environment import environment

SCHEMA = "fer-edge/export/2"

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
