"""Measures a model on a source: frame rate, frame age and start-up."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.common.conditions import ConditionMonitor
from benchmarks.common.documents import Document, machine_card, model_record, now
from benchmarks.common.validity import verdict
from benchmarks.pipeline.frame_age import measure_age
from benchmarks.pipeline.start_up import measure_start_up
from edge_runtime import Classifier
from edge_runtime.detection.base import DETECT_EVERY, FaceDetector
from edge_runtime.detection.factory import open_detector
from edge_runtime.errors import MeasurementError
from edge_runtime.model_file.metadata import NOTHING_GIVEN, Given
from edge_runtime.outputs.documents import frame_document
from edge_runtime.pipeline.base import FramePipeline
from edge_runtime.pipeline.pipeline import Pipeline
from edge_runtime.pipeline.prefetch import prefetch_tracked
from edge_runtime.pipeline.regions import RegionPipeline
from edge_runtime.pipeline.scheduler import RoundRobinScheduler
from edge_runtime.pipeline.words import words_in_run
from edge_runtime.preprocessing import Image
from edge_runtime.sources import Frame, open_source
from edge_runtime.sources.orientation import Rotation
from edge_runtime.sources.region import Region

SCHEMA = "fer-edge/frame-rate/1"
BLOCK_FRAMES = 20


@dataclass(frozen=True)
class Setup:
    """A model, a source and how they are run.

    Attributes:
        model: The model file.
        source: As for ``run --source``.
        frames: Number of frames to read from it.
        rotate: Degrees by which they are turned clockwise.
        hflip: Whether they are then mirrored.
        regions: The only parts of them that are looked at; empty for all.
        faces: Name of the face detector, or ``"auto"``.
        detector_model: YuNet's file; None takes the fetched one.
        threads: CPU threads of the model.
        backend: Inference library, or ``"auto"``.
        age_seconds: Duration of the run on a live source.
        given: What the user says of a file without metadata.
        given_words: The flags that say it.
    """

    model: Path
    source: str
    frames: int
    rotate: Rotation = 0
    hflip: bool = False
    regions: Sequence[Region] = ()
    faces: str = "auto"
    detector_model: Path | None = None
    threads: int = 1
    backend: str = "auto"
    age_seconds: float = 10.0
    given: Given = NOTHING_GIVEN
    given_words: Sequence[str] = ()

    def open_detector(self) -> FaceDetector:
        """Returns a new face detector."""
        return open_detector(self.faces, self.detector_model)

    def open_pipeline(self, model: Classifier, *, live: bool) -> FramePipeline[Any]:
        """Returns a new pipeline, of frames of a camera (live) or of a file."""
        scheduler = RoundRobinScheduler() if live else None

        def open_one(track_ids: Iterator[int] | None = None) -> Pipeline:
            return Pipeline(
                self.open_detector(),
                model,
                wait_for_detector=not live,
                scheduler=scheduler,
                track_ids=track_ids,
            )

        if not self.regions:
            return open_one()
        words = words_in_run(model.spec, self.faces)
        return RegionPipeline(self.regions, open_one, words)

    def run_arguments(self, source: Path) -> list[str]:
        """Returns the arguments of ``edge_runtime`` that run it on an image."""
        options = ["--faces", self.faces, "--backend", self.backend, "--json"]
        if self.detector_model:
            options += ["--detector-model", str(self.detector_model)]
        options += ["--threads", str(self.threads), "--source", str(source)]
        options += [f"--roi={region.text_with_name}" for region in self.regions]
        return ["run", str(self.model), *options, *self.given_words]


def measure_pipeline(setup: Setup) -> Document:
    """Returns the frame-rate document, ``fer-edge/frame-rate/1``.

    Raises:
        ModelError: The model file cannot be used.
        SourceError: The source cannot be read.
        MeasurementError: There are too few frames, or a new process failed.
    """
    monitor = ConditionMonitor()
    model = Classifier.load(
        setup.model,
        num_threads=setup.threads,
        backend=setup.backend,
        **setup.given._asdict(),
    )
    detector = setup.open_detector()
    images, fps = read_images(
        setup.source, setup.frames, rotate=setup.rotate, hflip=setup.hflip
    )
    rate = measure_frame_rate(images, fps, setup.open_pipeline(model, live=False))
    monitor.sample()
    age = measure_age(
        images,
        partial(setup.open_pipeline, model, live=True),
        recorded_fps=fps,
        seconds=setup.age_seconds,
    )
    start = _measure_start_up(setup, images[0])
    conditions = monitor.finish()
    return {
        "schema": SCHEMA,
        "created": now(),
        "model": model_record(setup.model.name, model, setup.threads),
        "source": {
            "name": setup.source,
            "frames": len(images),
            "fps": fps,
            "size_wh": list(images[0].shape[1::-1]),
            "rotate": setup.rotate,
            "hflip": setup.hflip,
            "regions": [region.text_with_name for region in setup.regions],
        },
        "settings": {
            "detector": detector.name,
            "detect_every": DETECT_EVERY,
            "opencv_threads": cv2.getNumThreads(),
        },
        "rate": rate,
        "age": age,
        "start_up": start,
        "conditions": conditions,
        "verdict": verdict(conditions),
        "machine": machine_card(),
    }


def _measure_start_up(setup: Setup, image: Image) -> Document:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.png"
        cv2.imwrite(str(path), image)
        return measure_start_up(setup.run_arguments(path))


def read_images(
    source: str, count: int, *, rotate: Rotation = 0, hflip: bool = False
) -> tuple[list[Image], float]:
    """Returns the first frames of a source, and its frames per second.

    Args:
        source: As for ``run --source``.
        count: Number of frames: 0.9 MB each at 640x480.
        rotate: Degrees by which they are turned clockwise.
        hflip: Whether they are then mirrored.
    """
    with open_source(source, rotate=rotate, hflip=hflip) as opened:
        images = [frame.image for frame in islice(opened, count)]
        return images, opened.fps


def measure_frame_rate(
    images: Sequence[Image], fps: float, pipeline: FramePipeline[Any]
) -> dict[str, Any]:
    """Returns the frame rate of a pipeline that never waits for a frame, JSON-ready.

    As ``run`` does with a file, the faces of the next frames are found while this one
    is classified. Each result becomes a line of JSON.

    Args:
        images: uint8 (H, W, 3) BGR, in order.
        fps: Images per second of the recording, for the frames' times.
        pipeline: Is closed afterwards.

    Returns:
        blocks of ``BLOCK_FRAMES`` frames, frame_ms and frames_per_second (median over
        the blocks), mean detect_ms, track_ms and classify_ms of a frame, mean faces.

    Raises:
        MeasurementError: There are fewer images than two blocks.
    """
    if len(images) < 2 * BLOCK_FRAMES:
        raise MeasurementError(
            f"expected at least {2 * BLOCK_FRAMES} frames, got {len(images)}: take a"
            " longer source"
        )
    frames = (
        Frame(image, index, index / fps, "memory") for index, image in enumerate(images)
    )
    results, ready_s = [], [time.perf_counter()]
    with closing(pipeline), prefetch_tracked(frames, pipeline) as tracked:
        for each in tracked:
            results.append(pipeline.classify(each))
            json.dumps(frame_document(results[-1]))
            ready_s.append(time.perf_counter())
    block_ms = 1000 * np.diff(ready_s[::BLOCK_FRAMES]) / BLOCK_FRAMES
    frame_ms = float(np.median(block_ms))
    return {
        "blocks": len(block_ms),
        "frame_ms": frame_ms,
        "frames_per_second": 1000 / frame_ms,
        "detect_ms": float(np.mean([each.detect_ms for each in results])),
        "track_ms": float(np.mean([each.track_ms for each in results])),
        "classify_ms": float(np.mean([each.classify_ms for each in results])),
        "faces": float(np.mean([len(each.faces) for each in results])),
    }


def pipeline_table(document: Document) -> str:
    """Returns a frame-rate document as text."""
    model, source = document["model"], document["source"]
    rate, age, start = document["rate"], document["age"], document["start_up"]
    width, height = source["size_wh"]
    memory = start["peak_memory_mb"]
    rows = {
        "frame rate": f"{rate['frames_per_second']:.1f} frames/s,"
        f" {rate['frame_ms']:.2f} ms a frame (detect {rate['detect_ms']:.2f}, track"
        f" {rate['track_ms']:.2f}, classify {rate['classify_ms']:.2f}, partly at once)",
        "frame age": f"p50 {age['age_p50_ms']:.1f} ms, p95 {age['age_p95_ms']:.1f} ms;"
        f" a result every {age['period_ms']:.1f} ms, {age['dropped']:,} frames dropped"
        f" of a camera with {age['camera_fps']:.0f} frames/s",
        "start-up": f"{start['first_label_ms']:.0f} ms to the first label"
        + (f", {memory:.0f} MiB at most" if memory else ""),
    }
    return "\n".join(
        [
            f"{model['name']}, {model['backend']['name']}, {model['threads']}"
            f" thread(s); faces by {document['settings']['detector']}",
            f"{source['name']}: {source['frames']} frames, {width}x{height},"
            f" {rate['faces']:.1f} faces a frame",
            "",
            *(f"{name:<10}  {text}" for name, text in rows.items()),
        ]
    )
