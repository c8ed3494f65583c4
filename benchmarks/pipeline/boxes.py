"""Whether boxes that were followed are those that detection on each frame gives."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from benchmarks.pipeline.clip import FPS, playing
from edge_runtime.detection.base import Face, FaceDetector
from edge_runtime.detection.boxes import iou
from edge_runtime.pipeline.pipeline import Pipeline
from edge_runtime.preprocessing import Image
from edge_runtime.results import Box, FrameResult

LEAST_IOU = 0.5


class DelayedDetector:
    """A detector that takes longer, as on a smaller board.

    Attributes:
        name: The detector's.
    """

    def __init__(self, detector: FaceDetector, slower_s: float) -> None:
        """Takes the detector, and by how many seconds it is slower."""
        self.name = detector.name
        self._detector, self._slower_s = detector, slower_s

    def detect(self, frame: Image) -> list[Face]:
        """Returns the faces, later."""
        time.sleep(self._slower_s)
        return self._detector.detect(frame)


def reference_boxes(
    pictures: Sequence[Image], detector: FaceDetector
) -> list[list[Box]]:
    """Returns the boxes of a detector that runs on every frame.

    Args:
        pictures: The clip's, uint8 (H, W, 3) BGR.
        detector: At the frame's full size.
    """
    return [
        [face.box_xywh for face in detector.detect(picture)] for picture in pictures
    ]


def live_agreement(
    pictures: Sequence[Image],
    pipeline: Pipeline,
    reference: Sequence[Sequence[Box]],
) -> dict[str, Any]:
    """Returns ``agreement`` of the frames that a pipeline answers of a camera.

    Args:
        pictures: What the camera shows once, in order, uint8 (H, W, 3) BGR.
        pipeline: Answers, and is closed afterwards.
        reference: Boxes of each picture.
    """
    with playing(pictures, FPS, endless=False) as source:
        results = [pipeline.process(frame) for frame in source]
        dropped = source.dropped
    pipeline.close()
    boxes = [reference[result.index] for result in results]
    return {"fps": FPS, "dropped": dropped, **agreement(results, boxes)}


def agreement(
    results: Sequence[FrameResult], reference: Sequence[Sequence[Box]]
) -> dict[str, Any]:
    """Returns how often the boxes of a run are the reference's.

    Returns:
        frames, frames_with_faces; matched_share: of all frames, those in which every
        box of the reference has one of ours at ``LEAST_IOU`` or more;
        extra_share: those in which we have a box more; detected_share: those with which
        an answer of the detector came in.
    """
    matched = extra = 0
    for result, boxes in zip(results, reference, strict=True):
        mine = [face.box_xywh for face in result.faces]
        matched += all(any(iou(box, my) >= LEAST_IOU for my in mine) for box in boxes)
        extra += len(mine) > len(boxes)
    frames = len(reference)
    return {
        "frames": frames,
        "frames_with_faces": sum(bool(boxes) for boxes in reference),
        "least_iou": LEAST_IOU,
        "matched_share": matched / frames,
        "extra_share": extra / frames,
        "detected_share": sum(result.detected for result in results) / frames,
    }
