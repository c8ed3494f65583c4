"""The answer for a picture that stands alone."""

from __future__ import annotations

from time import perf_counter

from edge_runtime.detection.base import FaceDetector
from edge_runtime.pipeline.classification import (
    FaceClassifier,
    age_ms,
    classify,
    face_result,
)
from edge_runtime.results import FrameResult
from edge_runtime.sources import Frame


def classify_still(
    frame: Frame, detector: FaceDetector, classifier: FaceClassifier
) -> FrameResult:
    """Returns the answer for a picture that stands alone.

    Args:
        frame: uint8 BGR or grey image with its time and name.
        detector: Finds the faces.
        classifier: Answers for them, all in one call.
    """
    started = perf_counter()
    faces = detector.detect(frame.image)
    detected = perf_counter()
    rows = classify(frame.image, faces, classifier)
    labels = classifier.spec.labels
    results = tuple(
        face_result(face, row, labels) for face, row in zip(faces, rows, strict=True)
    )
    return FrameResult(
        index=frame.index,
        timestamp_s=frame.timestamp_s,
        name=frame.name,
        faces=results,
        detect_ms=1000 * (detected - started),
        classify_ms=1000 * (perf_counter() - detected),
        age_ms=age_ms(frame),
    )
