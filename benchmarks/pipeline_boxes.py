"""Whether boxes that were followed are those that detection on each frame gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_runtime.boxes import iou
from edge_runtime.faces import FaceDetector
from edge_runtime.results import Box, FrameResult
from edge_runtime.sources import open_source

LEAST_IOU = 0.5


def reference_boxes(clip: Path, detector: FaceDetector) -> list[list[Box]]:
    """Returns the boxes of a detector that runs on every frame.

    Args:
        clip: A video.
        detector: At the frame's full size.
    """
    with open_source(str(clip)) as source:
        return [
            [face.box_xywh for face in detector.detect(frame.image)] for frame in source
        ]


def agreement(
    results: Sequence[FrameResult], reference: Sequence[Sequence[Box]]
) -> dict[str, Any]:
    """Returns how often the boxes of a run are the reference's.

    Returns:
        frames, frames_with_faces; matched_share: of all frames, those in which every
        box of the reference has one of ours at ``LEAST_IOU`` or more;
        extra_share: those in which we have a box more; detected_share: those on which
        the detector ran.
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
