"""What ``--collect`` takes of a frame's time, in the thread of the loop."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common.documents import machine_card
from edge_runtime import Classifier, Pipeline, open_source
from edge_runtime.detection.factory import open_detector
from edge_runtime.outputs.base import CollectLimits
from edge_runtime.outputs.collection.collector import Collector
from edge_runtime.outputs.collection.crop_folder import CropFolder, TakenCrop
from edge_runtime.outputs.work_queue import QueueCapacity, WorkQueue
from tests.detectors import SOME_DETECTOR

MOST_OF_A_FRAME = 0.02
FRAMES = 600


def measure(model: str | Path, folder: Path) -> dict[str, Any]:
    """Returns processor times of a loop with faces, and of collecting in it."""
    crops = CropFolder(folder, CollectLimits())
    queue: WorkQueue[TakenCrop] = WorkQueue(
        "--collect", crops.store, capacity=QueueCapacity(frames=4), lossless=False
    )
    classifier = Classifier.load(model)
    collector = Collector(
        queue,
        CollectLimits(),
        spec=lambda: classifier.spec,
        model=dict,
        whole=False,
        live=True,
        seed=1,
    )
    pipeline = Pipeline(open_detector(SOME_DETECTOR), classifier)
    loop_s = collecting_s = 0.0
    with open_source("fake:scene?faces=2&size=640x480&clock=virtual") as source:
        for number, frame in enumerate(source):
            if number == FRAMES:
                break
            before = time.thread_time()
            result = pipeline.process(frame)
            between = time.thread_time()
            collector.write(frame, result)
            loop_s += between - before
            collecting_s += time.thread_time() - between
    collector.finish()
    queue.close(10)
    crops.close()
    return {
        "schema": "fer-edge/collecting/1",
        "machine": machine_card(),
        "frames": FRAMES,
        "faces": 2,
        "detector": SOME_DETECTOR,
        "model": str(getattr(classifier.file, "name", model)),
        "crops": len(list(folder.glob("*.jpg"))),
        "frame_ms": round(1000 * loop_s / FRAMES, 3),
        "collecting_ms": round(1000 * collecting_s / FRAMES, 4),
        "share": round(collecting_s / loop_s, 5),
    }


@pytest.mark.parametrize("model", ["ferplus"])
def test_collecting_takes_little_of_a_frames_processor_time(
    tmp_path: Path, model: str
) -> None:
    record = measure(model, tmp_path / "crops")
    print(json.dumps(record))
    assert record["crops"] > 0
    assert record["share"] <= MOST_OF_A_FRAME, record
