"""Measures the latency of models in percentiles, and compares them on one machine.

What is timed are calls to ``edge_runtime``, as an application makes them. Camera and
face detection are not part of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.common.conditions import ConditionMonitor
from benchmarks.common.documents import (
    Document,
    load_average,
    machine_card,
    model_record,
    now,
    unique_names,
)
from benchmarks.common.timing import (
    Call,
    Protocol,
    Timings,
    histogram,
    ratio,
    time_interleaved,
    time_ms,
)
from benchmarks.common.validity import verdict
from benchmarks.latency.cold_start import REPEATS, measure_fresh_process
from edge_runtime import Classifier

SCHEMA = "fer-edge/latency/1"
FACE_PX = 96
STANDARD = Protocol()


@dataclass(frozen=True)
class Variant:
    """A model file in an inference library.

    Attributes:
        path: The file.
        name: Its name in the document, unique among the variants.
        backend: Inference library, or ``"auto"``.
        labels: Class names, for a file without metadata.
    """

    path: Path
    name: str
    backend: str = "auto"
    labels: Sequence[str] | None = None

    def open(self, threads: int) -> Classifier:
        """Returns its classifier with some CPU threads, checked as on a device."""
        return Classifier.load(
            self.path, num_threads=threads, backend=self.backend, labels=self.labels
        )


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory, and its start-up times.

    Attributes:
        classifier: The model.
        load_ms: Time for reading, checking and replaying its golden vectors, in a
            process that has loaded it before (so no imports, and the file is cached).
        first_ms: Time of its first prediction.
    """

    classifier: Classifier
    load_ms: float
    first_ms: float


def variants_of(
    paths: Sequence[Path],
    backends: Sequence[str] = ("auto",),
    labels: Sequence[str] | None = None,
) -> list[Variant]:
    """Returns each file in each library, ordered by file."""
    several = len(backends) > 1
    return [
        Variant(path, f"{name} ({backend})" if several else name, backend, labels)
        for path, name in zip(paths, unique_names(paths), strict=True)
        for backend in backends
    ]


def measure_latency(
    variants: Sequence[Variant],
    *,
    threads: Sequence[int] = (1,),
    protocol: Protocol = STANDARD,
    monitor: ConditionMonitor | None = None,
    processes: int = REPEATS,
) -> Document:
    """Returns the latency document, ``fer-edge/latency/1``.

    Args:
        variants: The models; the first is the reference of the ratios.
        threads: CPU thread counts; cold start and memory are measured with the first.
        protocol: How long to measure.
        monitor: Records the conditions; by default a new one.
        processes: Number of new processes for cold start and memory.

    Raises:
        ModelError: A file is missing, damaged or no such classifier.
        MeasurementError: A new process failed.
    """
    load_before = load_average()
    opened = [variant.open(threads[0]) for variant in variants]
    monitor = monitor or ConditionMonitor()
    results: list[Document] = []
    for count in threads:
        loaded = [_load(variant, count) for variant in variants]
        names = [variant.name for variant in variants]
        results += measure_interleaved(
            names, loaded, count, protocol, after_window=monitor.sample
        )
    conditions = monitor.finish()
    return {
        "schema": SCHEMA,
        "created": now(),
        "protocol": {**asdict(protocol), "face_px": FACE_PX},
        "models": [
            model_record(variant.path, variant.name, classifier, threads[0])
            for variant, classifier in zip(variants, opened, strict=True)
        ],
        "results": results,
        "fresh_process": [
            _fresh_process(variant, threads[0], processes) for variant in variants
        ],
        "sustained": [],
        "conditions": conditions,
        "verdict": verdict(conditions, results),
        "load_average_before": load_before,
        "machine": machine_card(),
    }


def measure_interleaved(
    names: Sequence[str],
    loaded: Sequence[LoadedModel],
    threads: int,
    protocol: Protocol,
    *,
    after_window: Callable[[], None] = lambda: None,
) -> list[Document]:
    """Returns the percentiles of every model, timed in rotation, JSON-ready.

    Args:
        names: Their names in the document.
        loaded: The models; the first is the reference of the ratios.
        threads: CPU threads they were opened with, for the record.
        protocol: How long to measure.
        after_window: Called between windows.
    """
    calls = []
    for model in loaded:
        calls += [one_image(model.classifier), one_face(model.classifier)]
    timings = time_interleaved(calls, protocol, after_window=after_window)
    logits, predict = timings[::2], timings[1::2]
    return [
        {
            "model": name,
            "threads": threads,
            "load_ms": model.load_ms,
            "first_ms": model.first_ms,
            "warmup_runs": logits[i].warmup_runs,
            "logits_ms": logits[i].percentiles(),
            "predict_ms": predict[i].percentiles(),
            "windows": logits[i].windows(),
            "between_windows": _between(logits[i]),
            "histogram": histogram(logits[i].times()),
            "spread": logits[i].spread(),
            "stable": logits[i].stable(protocol),
            "ratio_to_first": _ratios(logits, predict, i),
        }
        for i, (name, model) in enumerate(zip(names, loaded, strict=True))
    ]


def one_image(classifier: Classifier) -> Call:
    """Returns a call of the network alone, on a seeded noise image."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, *classifier.spec.input_shape), dtype=np.uint8)
    return lambda: classifier.logits(image)


def _load(variant: Variant, threads: int) -> LoadedModel:
    loaded: list[Classifier] = []
    load_ms = time_ms(lambda: loaded.append(variant.open(threads)))
    first_ms = time_ms(one_image(loaded[0]))
    return LoadedModel(loaded[0], load_ms, first_ms)


def _fresh_process(variant: Variant, threads: int, processes: int) -> Document:
    return {"model": variant.name, "threads": threads} | measure_fresh_process(
        variant.path,
        threads=threads,
        backend=variant.backend,
        labels=variant.labels,
        repeats=processes,
    )


def one_face(classifier: Classifier) -> Call:
    """Returns a call of ``predict``, on a seeded noise crop."""
    rng = np.random.default_rng(0)
    face_bgr = rng.integers(0, 256, (FACE_PX, FACE_PX, 3), dtype=np.uint8)
    return lambda: classifier.predict(face_bgr)


def _between(timings: Timings) -> Document:
    """Returns the lowest, median and highest value over the windows, by figure."""
    windows = timings.windows()
    extremes: Document = {}
    for key in ("p50", "p90", "p99", "per_second"):
        values = [window[key] for window in windows]
        extremes[key] = [min(values), float(np.median(values)), max(values)]
    return extremes


def _ratios(
    logits: Sequence[Timings], predict: Sequence[Timings], index: int
) -> Document | None:
    if index == 0:
        return None
    return {
        "logits": ratio(logits[index], logits[0]),
        "predict": ratio(predict[index], predict[0]),
    }
