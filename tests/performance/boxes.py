"""Compares tracked boxes with those of a detector that runs on every frame."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from benchmarks.pipeline.replay import replay
from edge_runtime.detection.base import Face, FaceDetector
from edge_runtime.detection.boxes import iou
from edge_runtime.pipeline.pipeline import Pipeline
from edge_runtime.preprocessing import Image
from edge_runtime.results import Box, FrameResult
from tests.performance.clip import FPS

LEAST_IOU = 0.5


class DelayedDetector:
    """A detector that takes longer, as on a smaller board.

    Attributes:
        name: The detector's name.
    """

    def __init__(self, detector: FaceDetector, delay_s: float) -> None:
        """Delays each call of the detector by some seconds."""
        self.name = detector.name
        self._detector, self._delay_s = detector, delay_s

    def detect(self, frame: Image) -> list[Face]:
        """Returns the faces after the delay."""
        time.sleep(self._delay_s)
        return self._detector.detect(frame)


def reference_boxes(images: Sequence[Image], detector: FaceDetector) -> list[list[Box]]:
    """Returns the boxes of a detector that runs on every frame.

    Args:
        images: The frames of the clip, uint8 (H, W, 3) BGR.
        detector: Works at the frame's full size.
    """
    return [[face.box_xywh for face in detector.detect(image)] for image in images]


def live_agreement(
    images: Sequence[Image],
    pipeline: Pipeline,
    reference: Sequence[Sequence[Box]],
) -> dict[str, Any]:
    """Returns ``agreement`` for the frames of a camera that a pipeline processes.

    Args:
        images: What the camera shows once, in order, uint8 (H, W, 3) BGR.
        pipeline: Is closed afterwards.
        reference: Boxes of each image.
    """
    with replay(images, FPS, recorded_fps=FPS, endless=False) as source:
        results = [pipeline.process(frame) for frame in source]
        dropped = source.dropped
    pipeline.close()
    boxes = [reference[result.index] for result in results]
    return {"fps": FPS, "dropped": dropped, **agreement(results, boxes)}


def agreement(
    results: Sequence[FrameResult], reference: Sequence[Sequence[Box]]
) -> dict[str, Any]:
    """Returns how often the boxes of a run are those of the reference.

    Returns:
        frames, frames_with_faces; matched_share: share of the frames in which every
        box of the reference overlaps one of ours by ``LEAST_IOU`` or more;
        extra_share: of those in which ours are more; detected_share: of those with a
        result of the detector.
    """
    matched = extra = 0
    for result, boxes in zip(results, reference, strict=True):
        ours = [face.box_xywh for face in result.faces]
        matched += all(any(iou(box, own) >= LEAST_IOU for own in ours) for box in boxes)
        extra += len(ours) > len(boxes)
    frames = len(reference)
    return {
        "frames": frames,
        "frames_with_faces": sum(bool(boxes) for boxes in reference),
        "least_iou": LEAST_IOU,
        "matched_share": matched / frames,
        "extra_share": extra / frames,
        "detected_share": sum(result.detected for result in results) / frames,
    }
