"""How long a model takes, in percentiles, and how models compare on one machine.

The figures are those of calls to ``edge_runtime``, as an application makes them: what
is not measured here (camera, face detection) takes time of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.fresh_process import measure_fresh_process
from benchmarks.machine import load_average, machine_card
from benchmarks.models import Document, model_record, now, open_models, unique_names
from benchmarks.turns import Call, Protocol, Timings, ratio, take_turns, time_ms
from edge_runtime import Classifier
from edge_runtime.errors import MeasurementError

SCHEMA = "fer-edge/latency/1"
FACE_PX = 96
LARGEST_SPREAD = 3.0
STANDARD = Protocol()


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


def measure_latency(
    paths: Sequence[Path],
    *,
    threads: Sequence[int] = (1,),
    backend: str = "auto",
    labels: Sequence[str] | None = None,
    protocol: Protocol = STANDARD,
) -> Document:
    """Returns the latency document, ``fer-edge/latency/1``.

    Args:
        paths: The model files; the first is what the others are compared with.
        threads: CPU thread counts; all are timed, fresh processes with the first.
        backend: Inference library, or ``"auto"``.
        labels: Class names, for files without metadata.
        protocol: How long is measured.

    Raises:
        ModelError: A file is missing, damaged or no such classifier.
        MeasurementError: A fresh process failed.
    """
    load_before = load_average()
    names = unique_names(paths)
    opened = open_models(paths, threads=threads[0], backend=backend, labels=labels)
    results: list[Document] = []
    for count in threads:
        loaded = [_load(path, count, backend, labels) for path in paths]
        results += measure_in_turns(names, loaded, count, protocol)
    fresh = [
        {"model": name, "threads": threads[0]}
        | measure_fresh_process(
            path, threads=threads[0], backend=backend, labels=labels
        )
        for path, name in zip(paths, names, strict=True)
    ]
    return {
        "schema": SCHEMA,
        "created": now(),
        "protocol": {**asdict(protocol), "face_px": FACE_PX},
        "models": [
            model_record(path, name, classifier, threads[0])
            for path, name, classifier in zip(paths, names, opened, strict=True)
        ],
        "results": results,
        "fresh_process": fresh,
        "load_average_before": load_before,
        "machine": machine_card(),
    }


def measure_in_turns(
    names: Sequence[str], loaded: Sequence[Loaded], threads: int, protocol: Protocol
) -> list[Document]:
    """Returns the percentiles of every model, timed in rotation, JSON-ready.

    Args:
        names: What the document calls the models.
        loaded: The models; the first is the reference of the ratios.
        threads: What they were opened with, for the record.
        protocol: How long is measured.
    """
    calls = []
    for model in loaded:
        calls += [_one_image(model.classifier), _one_face(model.classifier)]
    timings = take_turns(calls, protocol)
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
            "spread": logits[i].spread(),
            "ratio_to_first": _ratios(logits, predict, i),
        }
        for i, (name, model) in enumerate(zip(names, loaded, strict=True))
    ]


def check_valid(document: Document) -> None:
    """Refuses a measurement during which the machine changed too much.

    Raises:
        MeasurementError: The slow turns of a model took more than three times as
            long as its fast ones.
    """
    worst = max(document["results"], key=lambda result: float(result["spread"]))
    if worst["spread"] > LARGEST_SPREAD:
        raise MeasurementError(
            f"{worst['model']}: its slow turns took {worst['spread']:.1f} times as long"
            f" as its fast ones, valid is up to {LARGEST_SPREAD:.0f}: stop other"
            " programs, look for thermal throttling, and measure again"
        )


def _load(
    path: Path, threads: int, backend: str, labels: Sequence[str] | None
) -> Loaded:
    found: list[Classifier] = []

    def load() -> None:
        found[:] = open_models([path], threads=threads, backend=backend, labels=labels)

    load_ms = time_ms(load)
    first_ms = time_ms(_one_image(found[0]))
    return Loaded(found[0], load_ms, first_ms)


def _one_image(classifier: Classifier) -> Call:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, *classifier.spec.input_shape), dtype=np.uint8)
    return lambda: classifier.logits(image)


def _one_face(classifier: Classifier) -> Call:
    rng = np.random.default_rng(0)
    face_bgr = rng.integers(0, 256, (FACE_PX, FACE_PX, 3), dtype=np.uint8)
    return lambda: classifier.predict(face_bgr)


def _ratios(
    logits: Sequence[Timings], predict: Sequence[Timings], index: int
) -> Document | None:
    if index == 0:
        return None
    return {
        "logits": ratio(logits[index], logits[0]),
        "predict": ratio(predict[index], predict[0]),
    }
