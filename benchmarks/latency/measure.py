"""How long a model takes, in percentiles, and how models compare on one machine.

The figures are those of calls to ``edge_runtime``, as an application makes them: what
is not measured here (camera, face detection) takes time of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.common.conditions import Watch
from benchmarks.common.documents import (
    Document,
    load_average,
    machine_card,
    model_record,
    now,
    open_models,
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
        name: What the document calls it; unlike that of any other variant.
        backend: Inference library, or ``"auto"``.
        labels: Class names, for a file without metadata.
    """

    path: Path
    name: str
    backend: str = "auto"
    labels: Sequence[str] | None = None

    def open(self, threads: int) -> Classifier:
        """Returns it opened with so many CPU threads, checked as a device would."""
        return open_models(
            [self.path], threads=threads, backend=self.backend, labels=self.labels
        )[0]


@dataclass(frozen=True)
class Loaded:
    """A model in memory, and what it took.

    Attributes:
        classifier: The model.
        load_ms: Reading, checking and replaying its golden vectors, in a process
            that has loaded it before (so no imports, and the file is cached).
        first_ms: Its first answer after that.
    """

    classifier: Classifier
    load_ms: float
    first_ms: float


def variants_of(
    paths: Sequence[Path],
    backends: Sequence[str] = ("auto",),
    labels: Sequence[str] | None = None,
) -> list[Variant]:
    """Returns every file in every library, the first file first."""
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
    watch: Watch | None = None,
    processes: int = REPEATS,
) -> Document:
    """Returns the latency document, ``fer-edge/latency/1``.

    Args:
        variants: What is timed; the first is what the others are compared with.
        threads: CPU thread counts; all are timed, fresh processes with the first.
        protocol: How long is measured.
        watch: Looks at the machine meanwhile; by default at this one.
        processes: How many fresh processes give the memory and the cold start.

    Raises:
        ModelError: A file is missing, damaged or no such classifier.
        MeasurementError: A fresh process failed.
    """
    load_before = load_average()
    opened = [variant.open(threads[0]) for variant in variants]
    watch = watch or Watch()
    results: list[Document] = []
    for count in threads:
        loaded = [_load(variant, count) for variant in variants]
        names = [variant.name for variant in variants]
        results += measure_in_turns(
            names, loaded, count, protocol, after_window=watch.observe
        )
    seen = watch.finish()
    return {
        "schema": SCHEMA,
        "created": now(),
        "protocol": {**asdict(protocol), "face_px": FACE_PX},
        "models": [
            model_record(variant.path, variant.name, classifier, threads[0])
            for variant, classifier in zip(variants, opened, strict=True)
        ],
        "results": results,
        "fresh_process": [_fresh(one, threads[0], processes) for one in variants],
        "sustained": [],
        "conditions": seen,
        "verdict": verdict(seen, results),
        "load_average_before": load_before,
        "machine": machine_card(),
    }


def measure_in_turns(
    names: Sequence[str],
    loaded: Sequence[Loaded],
    threads: int,
    protocol: Protocol,
    *,
    after_window: Callable[[], None] = lambda: None,
) -> list[Document]:
    """Returns the percentiles of every model, timed in rotation, JSON-ready.

    Args:
        names: What the document calls the models.
        loaded: The models; the first is the reference of the ratios.
        threads: What they were opened with, for the record.
        protocol: How long is measured.
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
    """Returns the call that is timed: a seeded noise image through the network."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, *classifier.spec.input_shape), dtype=np.uint8)
    return lambda: classifier.logits(image)


def _load(variant: Variant, threads: int) -> Loaded:
    found: list[Classifier] = []
    load_ms = time_ms(lambda: found.append(variant.open(threads)))
    first_ms = time_ms(one_image(found[0]))
    return Loaded(found[0], load_ms, first_ms)


def _fresh(variant: Variant, threads: int, processes: int) -> Document:
    return {"model": variant.name, "threads": threads} | measure_fresh_process(
        variant.path,
        threads=threads,
        backend=variant.backend,
        labels=variant.labels,
        repeats=processes,
    )


def one_face(classifier: Classifier) -> Call:
    """Returns the call for a whole answer: a seeded noise crop to a prediction."""
    rng = np.random.default_rng(0)
    face_bgr = rng.integers(0, 256, (FACE_PX, FACE_PX, 3), dtype=np.uint8)
    return lambda: classifier.predict(face_bgr)


def _between(timings: Timings) -> Document:
    """Returns the lowest, median and highest value over the windows, by figure."""
    windows = timings.windows()
    found: Document = {}
    for key in ("p50", "p90", "p99", "per_second"):
        values = [one[key] for one in windows]
        found[key] = [min(values), float(np.median(values)), max(values)]
    return found


def _ratios(
    logits: Sequence[Timings], predict: Sequence[Timings], index: int
) -> Document | None:
    if index == 0:
        return None
    return {
        "logits": ratio(logits[index], logits[0]),
        "predict": ratio(predict[index], predict[0]),
    }
