"""Measures the latency of models in percentiles, and compares them on one machine.

What is timed are calls to ``edge_runtime``, as an application makes them. Camera and
face detection are not part of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
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
from edge_runtime.model_file.metadata import NOTHING_GIVEN, Given

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
        given: What the user says of a file without metadata.
    """

    path: Path
    name: str
    backend: str = "auto"
    given: Given = NOTHING_GIVEN

    def open(self, threads: int) -> Classifier:
        """Returns its classifier with some CPU threads, checked as on a device."""
        return Classifier.load(
            self.path,
            num_threads=threads,
            backend=self.backend,
            **self.given._asdict(),
        )


def variants_of(
    paths: Sequence[Path],
    backends: Sequence[str] = ("auto",),
    given: Given = NOTHING_GIVEN,
) -> list[Variant]:
    """Returns each file in each library, ordered by file."""
    several = len(backends) > 1
    return [
        Variant(path, f"{name} ({backend})" if several else name, backend, given)
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
        results += _measure(variants, count, protocol, monitor)
    conditions = monitor.finish()
    return {
        "schema": SCHEMA,
        "created": now(),
        "protocol": {**asdict(protocol), "face_px": FACE_PX},
        "models": [
            model_record(variant.name, classifier, threads[0])
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


def _measure(
    variants: Sequence[Variant],
    threads: int,
    protocol: Protocol,
    monitor: ConditionMonitor,
) -> list[Document]:
    """Returns the percentiles of every model, timed in rotation, JSON-ready."""
    calls: list[Call] = []
    starts: list[Document] = []
    for variant in variants:
        # The process has loaded it before: no imports, and the file is cached.
        started = time.perf_counter()
        classifier = variant.open(threads)
        load_ms = 1e3 * (time.perf_counter() - started)
        image, face = one_image(classifier), one_face(classifier)
        starts.append({"load_ms": load_ms, "first_ms": time_ms(image)})
        calls += [image, face]
    timings = time_interleaved(calls, protocol, after_window=monitor.sample)
    logits, predict = timings[::2], timings[1::2]
    return [
        {
            "model": variant.name,
            "threads": threads,
            **starts[i],
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
        for i, variant in enumerate(variants)
    ]


def one_image(classifier: Classifier) -> Call:
    """Returns a call of the network alone, on a seeded noise image."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, *classifier.spec.input_shape), dtype=np.uint8)
    return lambda: classifier.logits(image)


def _fresh_process(variant: Variant, threads: int, processes: int) -> Document:
    return {"model": variant.name, "threads": threads} | measure_fresh_process(
        variant.path,
        threads=threads,
        backend=variant.backend,
        given=variant.given,
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
