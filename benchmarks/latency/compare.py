"""Two latency documents: how many times as long, with an interval, or a refusal.

A figure from a hot board against one from a cold one is no comparison: documents that
were made under unlike conditions are refused, unless the difference is what is asked.
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

# What must be alike, and how it is found in a document.
CONDITIONS: dict[str, Callable[[Document], Any]] = {
    "machine": lambda one: {key: one["machine"].get(key) for key in MACHINE},
    "versions": lambda one: (one["machine"]["python"], one["machine"]["versions"]),
    "protocol": lambda one: one["protocol"],
}
MAY_DIFFER = (*CONDITIONS, "validity")


def compare_latency(
    a: Document, b: Document, *, despite: Collection[str] = ()
) -> Document:
    """Returns how many times as long as in A each model takes in B, JSON-ready.

    Rows are paired by model name, threads and library; where no name is in both and
    each document holds one model, these two are compared.

    Args:
        a: A document ``fer-edge/latency/1``.
        b: Another.
        despite: Conditions that may differ: names from ``MAY_DIFFER``.

    Raises:
        MeasurementError: They were measured under unlike conditions, or one of them
            is not valid.
        FerEdgeError: Nothing in them can be compared.
    """
    _refuse_unlike(a, b, despite)
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
                "a_p50_ms": one["logits_ms"]["p50"],
                "b_p50_ms": other["logits_ms"]["p50"],
                **ratio_interval(_medians(one), _medians(other)),
            }
            for (key_a, one), (key_b, other) in pairs
        ],
    }


def ratio_interval(a: Sequence[float], b: Sequence[float]) -> Document:
    """Returns the ratio of the medians of two lists of window medians, b over a.

    The 95 % percentile bootstrap interval resamples windows, not runs: runs of one
    window share its moment and are not independent. With fewer than ten windows it is
    too narrow (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993).

    Args:
        a: Milliseconds, one for each window.
        b: The same of the other.
    """
    rng = np.random.default_rng(SEED)
    drawn = [
        np.median(rng.choice(np.asarray(one), (RESAMPLES, len(one))), axis=1)
        for one in (a, b)
    ]
    low, high = np.percentile(drawn[1] / drawn[0], [2.5, 97.5])
    return {
        "ratio": float(np.median(b) / np.median(a)),
        "ratio_95": [float(low), float(high)],
        "windows": [len(a), len(b)],
    }


def comparison_lines(document: Document) -> list[str]:
    """Returns a comparison as lines for people."""
    lines = []
    for one in document["rows"]:
        low, high = one["ratio_95"]
        faster = "slower" if one["ratio"] > 1 else "faster"
        said = faster if not low <= 1 <= high else "no difference shown"
        name = one["a"] if one["a"] == one["b"] else f"{one['a']} -> {one['b']}"
        lines.append(
            f"{name}, {one['threads']} thread(s): {one['a_p50_ms']:.3f} ->"
            f" {one['b_p50_ms']:.3f} ms, x {one['ratio']:.3f}"
            f" (95 %: {low:.3f} to {high:.3f}): {said}"
        )
    return lines


def _refuse_unlike(a: Document, b: Document, despite: Collection[str]) -> None:
    if "validity" not in despite:
        for name, one in (("A", a), ("B", b)):
            if not one.get("verdict", {"valid": False})["valid"]:
                raise MeasurementError(
                    f"expected two valid measurements, {name} is INVALID or of an"
                    " older version: measure again, or add  --despite validity"
                )
    for condition, find in CONDITIONS.items():
        if condition not in despite and find(a) != find(b):
            raise MeasurementError(
                f"expected like conditions, got another {condition}:"
                f" {_unlike(find(a), find(b))}; measure again, or add"
                f"  --despite {condition}"
            )


def _unlike(a: Any, b: Any) -> str:
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [k for k in {**a, **b} if a.get(k) != b.get(k)]
        return ", ".join(f"{k} {a.get(k)!r} and {b.get(k)!r}" for k in keys)
    if isinstance(a, tuple):
        return "; ".join(_unlike(x, y) for x, y in zip(a, b, strict=True) if x != y)
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
