"""What share of the processor's peak a model reaches, layer by layer.

The peak is measured: one large convolution through the same library, interleaved with
the model. A layer's time is that of the graph up to it less that of the graph up to the
one before, since the libraries' Python interfaces have no profiler that sees layers.
The roofline model: Williams, Waterman and Patterson (2009), here its compute bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.common.conditions import ConditionMonitor
from benchmarks.common.documents import (
    Document,
    machine_card,
    model_record,
    now,
    unique_names,
)
from benchmarks.common.interpreter import invoke_call
from benchmarks.common.timing import Call, Protocol, Timings, time_interleaved
from benchmarks.common.validity import verdict
from benchmarks.roofline.peak_model import CONVOLUTIONS, Convolution, Dtype, peak_model
from benchmarks.roofline.prefix_model import prefix_model
from edge_runtime import Classifier
from edge_runtime.errors import ModelError
from edge_runtime.inspection.analyzer import LayerSummary, analyze, read_graph
from edge_runtime.model_file.container import read_model_file
from edge_runtime.model_file.metadata import NOTHING_GIVEN, Given

SCHEMA = "fer-edge/limit/1"
# Some thirty calls are interleaved: short blocks, so that neighbours are close in time.
PROTOCOL = Protocol(
    name="roofline",
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
class OpenedModel:
    """A model whose layers are measured.

    Attributes:
        name: Its name in the document.
        library: The inference library that runs it.
        layers: Its operators, in order.
        prefixes: Flatbuffers that end after the first operator, the second, and so on;
            the last one is the whole model.
    """

    name: str
    library: str
    layers: tuple[LayerSummary, ...]
    prefixes: tuple[bytes, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all layers."""
        return sum(layer.macs or 0 for layer in self.layers)


def measure_roofline(
    paths: Sequence[Path],
    *,
    threads: Sequence[int] = (1,),
    backend: str = "auto",
    given: Given = NOTHING_GIVEN,
    protocol: Protocol = PROTOCOL,
) -> Document:
    """Returns the roofline document, ``fer-edge/limit/1``.

    Args:
        paths: TFLite files.
        threads: CPU thread counts; the peak is measured with each.
        backend: Inference library, or ``"auto"``.
        given: What the user says of files without metadata.
        protocol: How long to measure.

    Raises:
        ModelError: A file is missing, damaged, or not a TFLite file.
    """
    classifiers = [
        Classifier.load(path, backend=backend, **given._asdict()) for path in paths
    ]
    names = unique_names(paths)
    models = [
        _open(path, name, classifier.backend.name)
        for path, name, classifier in zip(paths, names, classifiers, strict=True)
    ]
    monitor = ConditionMonitor()
    card = machine_card()
    results = [
        _measure(model, count, protocol, monitor, card)
        for count in threads
        for model in models
    ]
    conditions = monitor.finish()
    records = [
        model_record(name, classifier, threads[0]) | {"macs": model.macs}
        for path, name, classifier, model in zip(
            paths, names, classifiers, models, strict=True
        )
    ]
    return {
        "schema": SCHEMA,
        "created": now(),
        "protocol": asdict(protocol),
        "models": records,
        "results": results,
        "conditions": conditions,
        "verdict": verdict(conditions, results),
        "machine": card,
    }


def physical_gmacs(card: Document, dtype: str, threads: int) -> float | None:
    """Returns the GMAC/s that the cores cannot exceed, None for an unknown core."""
    per_cycle = PER_CYCLE.get(card["cpu"], {}).get(dtype)
    if per_cycle is None or not card["max_frequency_mhz"]:
        return None
    cores = min(threads, card["cores"] or 1)
    return 1e-3 * per_cycle * float(card["max_frequency_mhz"]) * cores


def _open(path: Path, name: str, library: str) -> OpenedModel:
    file = read_model_file(path)
    if file.kind != "tflite":
        raise ModelError(
            f"{file.name}: expected a .tflite file, got .onnx: the peak is measured"
            " with a TFLite file through the same library"
        )
    graph = read_graph(file)
    prefixes = [
        prefix_model(file.model, graph, count)
        for count in range(1, len(graph.operators))
    ]
    return OpenedModel(name, library, analyze(graph).layers, (*prefixes, file.model))


def _measure(
    model: OpenedModel,
    threads: int,
    protocol: Protocol,
    monitor: ConditionMonitor,
    card: Document,
) -> Document:
    peaks = [(dtype, convolution) for dtype in DTYPES for convolution in CONVOLUTIONS]
    files = [
        *model.prefixes,
        *(peak_model(convolution, dtype) for dtype, convolution in peaks),
    ]
    calls: list[Call] = [
        invoke_call(file, library=model.library, threads=threads) for file in files
    ]
    timings = time_interleaved(calls, protocol, after_window=monitor.sample)
    count = len(model.prefixes)
    peak = _peak_gmacs(peaks, timings[count:])
    whole = timings[count - 1]
    ideal_ms = sum(_ideal_ms(layer, peak) for layer in model.layers)
    p50 = float(whole.percentiles()["p50"])
    return {
        "model": model.name,
        "threads": threads,
        "library": model.library,
        "peak_gmacs": peak,
        "physical_gmacs": {
            dtype: physical_gmacs(card, dtype, threads) for dtype in DTYPES
        },
        "invoke_ms": p50,
        "gmacs": 1e-6 * model.macs / p50,
        "ideal_ms": ideal_ms,
        "share": ideal_ms / p50,
        "layers": _layers(model.layers, timings[:count], peak),
        "spread": whole.spread(),
        "stable": whole.stable(protocol),
    }


def _peak_gmacs(
    peaks: Sequence[tuple[Dtype, Convolution]], timings: Sequence[Timings]
) -> dict[str, float]:
    """Returns the highest rate of each data type, GMAC/s."""
    rates: dict[str, list[float]] = {dtype: [] for dtype in DTYPES}
    for (dtype, convolution), timing in zip(peaks, timings, strict=True):
        p50 = float(timing.percentiles()["p50"])
        rates[dtype].append(1e-6 * convolution.macs / p50)
    return {dtype: max(measured) for dtype, measured in rates.items()}


def _ideal_ms(layer: LayerSummary, peak: dict[str, float]) -> float:
    """Returns how long a layer's MACs take at the measured peak."""
    rate = peak["int8"] if layer.dtype == "int8" else peak["float32"]
    return 1e-6 * (layer.macs or 0) / rate


def _layers(
    layers: Sequence[LayerSummary], prefixes: Sequence[Timings], peak: dict[str, float]
) -> list[Document]:
    medians = np.array([timing.medians() for timing in prefixes])  # (layers, blocks)
    differences = np.diff(medians, axis=0, prepend=0.0)
    rows = []
    for layer, blocks_ms in zip(layers, differences, strict=True):
        # Below zero where a layer takes less than the measurement's noise.
        layer_ms = max(0.0, float(np.median(blocks_ms)))
        ideal_ms = _ideal_ms(layer, peak)
        rows.append(
            {
                "name": layer.name,
                "operator": layer.operator,
                "dtype": layer.dtype,
                "macs": layer.macs,
                "bytes": layer.bytes,
                "ms": layer_ms,
                "ms_quartiles": np.percentile(blocks_ms, [25, 75]).tolist(),
                "share": ideal_ms / layer_ms if layer_ms > 0 and layer.macs else None,
            }
        )
    return rows
