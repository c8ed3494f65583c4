"""The result for a single image."""

from __future__ import annotations

from time import perf_counter

from edge_runtime.detection.base import FaceDetector
from edge_runtime.pipeline.classification import (
    FaceClassifier,
    age_ms,
    classify_batch,
    face_result,
    prepare_batch,
)
from edge_runtime.pipeline.words import words_in_run
from edge_runtime.results import FrameResult
from edge_runtime.sources import Frame


def classify_still(
    frame: Frame, detector: FaceDetector, classifier: FaceClassifier
) -> FrameResult:
    """Returns the result for a single image: no tracking, no smoothing.

    Args:
        frame: uint8 BGR or grey image with its time and name.
        detector: Finds the faces.
        classifier: Classifies them, all in one call.
    """
    started = perf_counter()
    faces = detector.detect(frame.image)
    detected = perf_counter()
    batch = prepare_batch(frame.image, faces, classifier)
    rows = classify_batch(batch, classifier)
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
        words=words_in_run(classifier.spec, detector.name),
    )
