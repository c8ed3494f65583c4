"""How much of what the processor can do a model gets out of it, layer by layer.

The peak is measured, not looked up: one large convolution through the same library, in
the same run, in turns with the model. Layers are told apart by timing the graph up to
each of them, since the libraries' Python interfaces have no profiler that sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.common.conditions import Watch
from benchmarks.common.documents import (
    Document,
    model_record,
    now,
    open_models,
    unique_names,
)
from benchmarks.common.interpreter import invoke_call
from benchmarks.common.machine import machine_card
from benchmarks.common.timing import Call, Protocol, Timings, time_interleaved
from benchmarks.common.validity import verdict
from benchmarks.roofline.peak_model import CONVOLUTIONS, Convolution, Dtype, peak_model
from benchmarks.roofline.prefix_model import prefix_model
from benchmarks.roofline.projection import project
from edge_runtime.errors import ModelError
from edge_runtime.inspection.analyzer import Layer, analyze, read_graph
from edge_runtime.model_file.container import read_model_file

SCHEMA = "fer-edge/limit/1"
# Thirty calls take turns: short turns, so that neighbours stand side by side.
PROTOCOL = Protocol(
    name="limit",
    runs=100,
    seconds=0.3,
    windows=4,
    window_seconds=0.06,
    block_runs=5,
    block_seconds=0.02,
    stable_frac=0.05,
    most_seconds=0.6,
    warmup_runs=5,
    warmup_seconds=0.05,
)
# Multiply-accumulates of one core per clock cycle: Arm Compute Library's performance
# parameters and, for the A72, LLVM's model of the A57.
PER_CYCLE = {
    "Cortex-A53": {"float32": 4, "int8": 8},
    "Cortex-A72": {"float32": 4, "int8": 8},
    "Cortex-A76": {"float32": 8, "int8": 32},
}
DTYPES: tuple[Dtype, ...] = ("int8", "float32")


@dataclass(frozen=True)
class Opened:
    """A model to be measured against the limit.

    Attributes:
        name: What the document calls it.
        model: The flatbuffer.
        library: That runs it.
        layers: Its operators, in order.
        parts: The model after each operator, each a model of its own; the last is all.
    """

    name: str
    model: bytes
    library: str
    layers: tuple[Layer, ...]
    parts: tuple[bytes, ...]


def measure_limit(
    paths: Sequence[Path],
    *,
    threads: Sequence[int] = (1,),
    backend: str = "auto",
    labels: Sequence[str] | None = None,
    protocol: Protocol = PROTOCOL,
) -> Document:
    """Returns the limit document, ``fer-edge/limit/1``.

    Args:
        paths: TFLite files.
        threads: CPU thread counts; the peak is measured with each.
        backend: Inference library, or ``"auto"``.
        labels: Class names, for files without metadata.
        protocol: How long is measured.

    Raises:
        ModelError: A file is missing, damaged, or no TFLite file.
    """
    classifiers = open_models(paths, threads=1, backend=backend, labels=labels)
    names = unique_names(paths)
    models = [
        _open(path, name, classifier.backend.name)
        for path, name, classifier in zip(paths, names, classifiers, strict=True)
    ]
    watch = Watch()
    card = machine_card()
    rows: list[Document] = []
    for count in threads:
        for model in models:
            rows.append(_measure(model, count, protocol, watch, card))
    seen = watch.finish()
    records = [
        model_record(path, name, classifier, threads[0])
        | {"macs": sum(one.macs or 0 for one in model.layers)}
        | {"projections": project(model.layers)}
        for path, name, classifier, model in zip(
            paths, names, classifiers, models, strict=True
        )
    ]
    return {
        "schema": SCHEMA,
        "created": now(),
        "protocol": asdict(protocol),
        "models": records,
        "results": rows,
        "conditions": seen,
        "verdict": verdict(seen, rows),
        "machine": card,
    }


def physical_gmacs(card: Document, dtype: str, threads: int) -> float | None:
    """Returns GMAC/s that the cores cannot exceed, None for a core not in the table."""
    per_cycle = PER_CYCLE.get(card["cpu"], {}).get(dtype)
    if per_cycle is None or not card["max_frequency_mhz"]:
        return None
    cores = min(threads, card["cores"] or 1)
    return 1e-3 * per_cycle * float(card["max_frequency_mhz"]) * cores


def _open(path: Path, name: str, library: str) -> Opened:
    file = read_model_file(path)
    if file.kind != "tflite":
        raise ModelError(
            f"{file.name}: expected a .tflite file, got .onnx: the peak is measured"
            " with a TFLite file through the same library"
        )
    graph = read_graph(file)
    parts = [
        prefix_model(file.model, graph, count)
        for count in range(1, len(graph.operators))
    ]
    layers = analyze(graph).layers
    return Opened(name, file.model, library, layers, (*parts, file.model))


def _measure(
    model: Opened, threads: int, protocol: Protocol, watch: Watch, card: Document
) -> Document:
    peaks = [(dtype, one) for dtype in DTYPES for one in CONVOLUTIONS]
    files = [*model.parts, *(peak_model(one, dtype) for dtype, one in peaks)]
    calls: list[Call] = [
        invoke_call(file, library=model.library, threads=threads) for file in files
    ]
    timings = time_interleaved(calls, protocol, after_window=watch.observe)
    count = len(model.parts)
    peak = _peaks(peaks, timings[count:])
    whole = timings[count - 1]
    ideal = sum(_ideal_ms(one, peak) for one in model.layers)
    p50 = float(whole.percentiles()["p50"])
    macs = sum(one.macs or 0 for one in model.layers)
    return {
        "model": model.name,
        "threads": threads,
        "library": model.library,
        "peak_gmacs": peak,
        "physical_gmacs": {
            dtype: physical_gmacs(card, dtype, threads) for dtype in DTYPES
        },
        "invoke_ms": p50,
        "gmacs": 1e-6 * macs / p50,
        "ideal_ms": ideal,
        "share": ideal / p50,
        "layers": _layers(model.layers, timings[:count], peak),
        "spread": whole.spread(),
        "stable": whole.stable(protocol),
    }


def _peaks(
    peaks: Sequence[tuple[Dtype, Convolution]], timings: Sequence[Timings]
) -> dict[str, float]:
    """Returns the highest rate of each data type, GMAC/s."""
    rates: dict[str, list[float]] = {dtype: [] for dtype in DTYPES}
    for (dtype, one), timing in zip(peaks, timings, strict=True):
        rates[dtype].append(1e-6 * one.macs / float(timing.percentiles()["p50"]))
    return {dtype: max(found) for dtype, found in rates.items()}


def _ideal_ms(layer: Layer, peak: dict[str, float]) -> float:
    """Returns how long a layer's MACs take at the measured peak."""
    rate = peak["int8"] if layer.dtype == "int8" else peak["float32"]
    return 1e-6 * (layer.macs or 0) / rate


def _layers(
    layers: Sequence[Layer], parts: Sequence[Timings], peak: dict[str, float]
) -> list[Document]:
    medians = np.array([one.medians() for one in parts])  # (layers, turns)
    differences = np.diff(medians, axis=0, prepend=0.0)
    found = []
    for layer, turns in zip(layers, differences, strict=True):
        # Below zero where a layer takes less than the measurement's noise.
        took = max(0.0, float(np.median(turns)))
        ideal = _ideal_ms(layer, peak)
        found.append(
            {
                "name": layer.name,
                "operator": layer.operator,
                "dtype": layer.dtype,
                "macs": layer.macs,
                "bytes": layer.bytes,
                "ms": took,
                "ms_quartiles": np.percentile(turns, [25, 75]).tolist(),
                "share": ideal / took if took > 0 and layer.macs else None,
            }
        )
    return found
