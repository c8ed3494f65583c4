"""``/metrics``: the counters of the run for Prometheus, in a registry of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from edge_runtime.results import FACE_WORDS, FrameResult, Words

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics(Collector):
    """Histograms that the loop fills, and counters that are read at each request."""

    def __init__(self, words: Callable[[], Words] = lambda: FACE_WORDS) -> None:
        """Takes what returns the model's words: counters are called by them."""
        self._words = words
        self._registry = CollectorRegistry()
        self._stage = Histogram(
            "fer_edge_stage_seconds",
            "Time of a stage for one frame",
            ["stage"],
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._age = Histogram(
            "fer_edge_frame_age_seconds",
            "Age of a frame when its result was ready",
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)

    def observe(self, result: FrameResult) -> None:
        """Adds one result."""
        if result.detected:
            self._stage.labels("detect").observe(result.detect_ms / 1000)
        self._stage.labels("track").observe(result.track_ms / 1000)
        if result.faces:
            self._stage.labels("classify").observe(result.classify_ms / 1000)
        if result.age_ms is not None:
            self._age.observe(result.age_ms / 1000)

    def read_from(self, document: Callable[[], dict[str, Any]]) -> None:
        """Sets the state document that all counters are read from at each request."""
        self._document = document
        self._registry.register(self)

    def text(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yields the counters; called by the registry."""
        state = self._document()
        source, board = state["source"], state["board"]
        yield _counter("frames", "Frames processed", state["frames"])
        yield _counter("detections", "Frames the detector ran on", state["detections"])
        things = self._words().things
        name = things.capitalize()
        yield _counter(things, f"{name} in all frames", state["faces"])
        classified = f"{name} classified; the others kept an earlier result"
        yield _counter(f"{things}_classified", classified, state["classified"])
        yield _counter(
            "source_dropped", "Frames dropped for newer ones", source["dropped"]
        )
        yield _counter(
            "source_skipped", "Frames that could not be read", source["skipped"]
        )
        yield _counter("source_reopened", "Times it was reopened", source["reopened"])
        yield _labelled("labels", f"{name} by decision", "label", state["labels"])
        yield _labelled("events", "Events by kind", "event", state["events"])
        yield from _outputs(state.get("outputs", {}))
        yield _gauge("healthy", "1 while frames come", int(state["healthy"]))
        yield _gauge("fps", "Frames processed per second", state["fps"])
        yield _gauge("uptime_seconds", "Time since the start", state["uptime_s"])
        celsius = board.get("temperature_c")
        yield _gauge("temperature_celsius", "Temperature of the processor", celsius)
        if (throttled := board.get("throttled")) is not None:
            now = len(throttled["now"])
            yield _gauge("throttled", "Present reasons for throttling", now)
        if "drift" in state:
            yield from _drift(state["drift"]["quantities"])
        yield _model(state)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"fer_edge_{name}", text, value=value)


def _gauge(name: str, text: str, value: float | None) -> Metric:
    if value is None:
        return GaugeMetricFamily(f"fer_edge_{name}", text, labels=[])
    return GaugeMetricFamily(f"fer_edge_{name}", text, value=value)


def _labelled(name: str, text: str, label: str, values: dict[str, float]) -> Metric:
    family = CounterMetricFamily(f"fer_edge_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _outputs(outputs: dict[str, dict[str, Any]]) -> Iterator[Metric]:
    written = CounterMetricFamily(
        "fer_edge_output_written",
        "Frames written by an output; of events, frames with one",
        labels=["output"],
    )
    dropped = CounterMetricFamily(
        "fer_edge_output_dropped",
        "Frames dropped by an output",
        labels=["output", "what"],
    )
    for output, counts in outputs.items():
        written.add_metric([output], counts["written"])
        dropped.add_metric([output, "frames"], counts["dropped_frames"])
        dropped.add_metric([output, "events"], counts["dropped_events"])
    yield written
    yield dropped


def _drift(quantities: Sequence[dict[str, Any]]) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "fer_edge_drift", "1 where a quantity drifts", labels=["quantity"]
    )
    index = GaugeMetricFamily(
        "fer_edge_drift_psi", "Population stability index", labels=["quantity"]
    )
    for each in quantities:
        state.add_metric([each["name"]], int(each["drifting"]))
        if each["psi"] is not None:
            index.add_metric([each["name"]], each["psi"])
    yield state
    yield index


def _model(state: dict[str, Any]) -> Metric:
    keys = ("name", "sha256", "architecture", "format", "backend", "backend_version")
    model = {key: str(state["model"].get(key) or "") for key in keys}
    model |= {"detector": state["detector"], "version": state["version"]}
    return InfoMetricFamily(
        "fer_edge_model", "Model, detector and version", value=model
    )
