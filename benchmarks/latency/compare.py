"""Compares two latency documents: ratios with confidence intervals.

Documents that were measured under different conditions are refused, unless that
difference is the question.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from benchmarks.common.documents import Document
from edge_runtime.errors import FerEdgeError, MeasurementError

SCHEMA = "fer-edge/compare/1"
RESAMPLES = 10_000
SEED = 0
MACHINE = ("model", "cpu", "architecture", "cores", "governor", "max_frequency_mhz")
Rows = dict[tuple[str, int, str], Document]

# Each condition that must be the same, and how to read it from a document.
CONDITIONS: dict[str, Callable[[Document], Any]] = {
    "machine": lambda doc: {key: doc["machine"].get(key) for key in MACHINE},
    "versions": lambda doc: (doc["machine"]["python"], doc["machine"]["versions"]),
    "protocol": lambda doc: doc["protocol"],
}
MAY_DIFFER = (*CONDITIONS, "validity")


def compare_latency(
    a: Document, b: Document, *, despite: Collection[str] = ()
) -> Document:
    """Returns the latency of each model in B over that in A, JSON-ready.

    Rows are paired by model name, threads and library. If no name is in both and each
    document holds one model, these two are compared.

    Args:
        a: A document ``fer-edge/latency/1``.
        b: Another one.
        despite: Conditions that may differ: names from ``MAY_DIFFER``.

    Raises:
        MeasurementError: They were measured under different conditions, or one of them
            is not valid.
        FerEdgeError: They have no rows in common.
    """
    _refuse_different(a, b, despite)
    pairs = _pairs(a, b, by_library="versions" not in despite)
    return {
        "schema": SCHEMA,
        "despite": sorted(despite),
        "bootstrap": {"resamples": RESAMPLES, "seed": SEED},
        "rows": [
            {
                "a": key_a[0],
                "b": key_b[0],
                "threads": key_a[1],
                "a_p50_ms": row_a["logits_ms"]["p50"],
                "b_p50_ms": row_b["logits_ms"]["p50"],
                **ratio_interval(_medians(row_a), _medians(row_b)),
            }
            for (key_a, row_a), (key_b, row_b) in pairs
        ],
    }


def ratio_interval(a: Sequence[float], b: Sequence[float]) -> Document:
    """Returns the ratio of the medians of two lists of window medians, b over a.

    The 95 % percentile bootstrap interval resamples windows, not runs, because the runs
    of one window are not independent. With fewer than ten windows it is too narrow
    (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993).

    Args:
        a: Medians in milliseconds, one for each window.
        b: The same of the other measurement.
    """
    rng = np.random.default_rng(SEED)
    medians_a, medians_b = (
        np.median(rng.choice(np.asarray(each), (RESAMPLES, len(each))), axis=1)
        for each in (a, b)
    )
    low, high = np.percentile(medians_b / medians_a, [2.5, 97.5])
    return {
        "ratio": float(np.median(b) / np.median(a)),
        "ratio_95": [float(low), float(high)],
        "windows": [len(a), len(b)],
    }


def comparison_lines(document: Document) -> list[str]:
    """Returns a comparison as lines of text."""
    lines = []
    for row in document["rows"]:
        low, high = row["ratio_95"]
        outcome = "slower" if row["ratio"] > 1 else "faster"
        if low <= 1 <= high:
            outcome = "no significant difference"
        name = row["a"] if row["a"] == row["b"] else f"{row['a']} -> {row['b']}"
        lines.append(
            f"{name}, {row['threads']} thread(s): {row['a_p50_ms']:.3f} ->"
            f" {row['b_p50_ms']:.3f} ms, x {row['ratio']:.3f}"
            f" (95 %: {low:.3f} to {high:.3f}): {outcome}"
        )
    return lines


def _refuse_different(a: Document, b: Document, despite: Collection[str]) -> None:
    if "validity" not in despite:
        for name, document in (("A", a), ("B", b)):
            if not document.get("verdict", {"valid": False})["valid"]:
                raise MeasurementError(
                    f"expected two valid measurements, {name} is INVALID or of an"
                    " older version: measure again, or add  --despite validity"
                )
    for condition, find in CONDITIONS.items():
        if condition not in despite and find(a) != find(b):
            raise MeasurementError(
                f"expected the same conditions, got another {condition}:"
                f" {_differences(find(a), find(b))}; measure again, or add"
                f"  --despite {condition}"
            )


def _differences(a: Any, b: Any) -> str:
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [k for k in {**a, **b} if a.get(k) != b.get(k)]
        return ", ".join(f"{k} {a.get(k)!r} and {b.get(k)!r}" for k in keys)
    if isinstance(a, tuple):
        return "; ".join(
            _differences(x, y) for x, y in zip(a, b, strict=True) if x != y
        )
    return f"{a!r} and {b!r}"


def _pairs(
    a: Document, b: Document, *, by_library: bool
) -> list[tuple[tuple[Any, Document], tuple[Any, Document]]]:
    rows_a, rows_b = _rows(a, by_library), _rows(b, by_library)
    pairs = [
        ((key, rows_a[key]), (key, rows_b[key])) for key in rows_a if key in rows_b
    ]
    if not pairs and len(a["models"]) == len(b["models"]) == 1:
        by_threads = {key[1]: (key, row) for key, row in rows_b.items()}
        pairs = [
            ((key, row), by_threads[key[1]])
            for key, row in rows_a.items()
            if key[1] in by_threads
        ]
    if not pairs:
        raise FerEdgeError(
            "expected a model with the same name, library and thread count in both, got"
            f" {_named(rows_a)} and {_named(rows_b)}"
        )
    return pairs


def _rows(document: Document, by_library: bool) -> Rows:
    libraries = {m["name"]: m["backend"]["name"] for m in document["models"]}
    return {
        (
            row["model"],
            row["threads"],
            libraries[row["model"]] if by_library else "",
        ): row
        for row in document["results"]
    }


def _named(rows: Rows) -> str:
    return ", ".join(f"{name} ({threads})" for name, threads, _ in rows)


def _medians(row: Document) -> list[float]:
    return [float(window["p50"]) for window in row["windows"]]
