"""The frames of a video or camera: track, schedule, classify, smooth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edge_runtime.detection.base import DETECT_EVERY, FaceDetector
from edge_runtime.pipeline.classification import (
    FaceClassifier,
    Probabilities,
    age_ms,
    classify_batch,
    face_result,
    prepare_batch,
)
from edge_runtime.pipeline.decisions import DecisionConfig, Observation, TrackDecisions
from edge_runtime.pipeline.scheduler import RoundRobinScheduler
from edge_runtime.pipeline.words import words_in_run
from edge_runtime.results import Event, FaceResult, FrameResult
from edge_runtime.sources import Frame
from edge_runtime.tracking.face_tracker import FaceTracker, TrackedFaces


class TrackedFrame(NamedTuple):
    """A frame whose faces were found and wait for the network.

    Attributes:
        frame: The frame.
        faces: Its faces.
        chosen: Indices of the visible faces that are classified in this frame.
        batch: uint8 (chosen, S, S, C), those faces as the network takes them.
        track_s: Duration of the tracking, without the detector, in seconds.
        prepare_s: Duration of cropping and resizing, in seconds.
    """

    frame: Frame
    faces: TrackedFaces
    chosen: Sequence[int]
    batch: npt.NDArray[np.uint8]
    track_s: float = 0.0
    prepare_s: float = 0.0


class Pipeline:
    """Returns the result of each frame of a video or camera, in order.

    ``process`` takes two steps, ``detect_and_track`` and ``classify``, each of which
    needs every frame in order. Without a ``scheduler`` the two share nothing that
    changes: one thread may track the faces of the next frames while another classifies
    those of this one (see ``prefetch``).

    Examples:
        >>> from edge_runtime import Classifier, Pipeline, open_detector, open_source
        >>> classifier = Classifier.load("fer2013.int8.tflite")
        >>> pipeline = Pipeline(open_detector("haar"), classifier)
        >>> with open_source("clip.avi") as source:
        ...     for frame in source:
        ...         result = pipeline.process(frame)
        >>> [(face.track_id, face.decision.label) for face in result.faces]
        [(1, 'neutral')]
    """

    def __init__(
        self,
        detector: FaceDetector,
        classifier: FaceClassifier,
        *,
        detect_every: int = DETECT_EVERY,
        decisions: DecisionConfig | None = None,
        wait_for_detector: bool = True,
        scheduler: RoundRobinScheduler | None = None,
        track_ids: Iterator[int] | None = None,
    ) -> None:
        """Starts with no faces.

        Args:
            detector: Finds the faces.
            classifier: Classifies them, all of a frame in one call.
            detect_every: Frames from one run of the detector to the next.
            decisions: How decisions are made.
            wait_for_detector: Every frame waits for the detector. If not, results also
                depend on its speed: for cameras. Close the pipeline then.
            scheduler: For cameras: faces for which there is no time before the next
                frame keep their last probabilities. None: all are classified in every
                frame.
            track_ids: Numbers for its faces, where several pipelines share them; None
                for 1, 2, 3 and so on.
        """
        self._tracker = FaceTracker(
            detector,
            detect_every=detect_every,
            wait_for_detector=wait_for_detector,
            track_ids=track_ids,
        )
        self._scheduler, self._classifier = scheduler, classifier
        self._labels = classifier.spec.labels
        self._words = words_in_run(classifier.spec, detector.name)
        self._decisions = TrackDecisions(
            self._labels, decisions or DecisionConfig(), self._words
        )
        # By track: the last probabilities, and the time of their frame.
        self._classified: dict[int, tuple[Probabilities, float]] = {}

    def close(self) -> None:
        """Ends the detector's thread, if there is one, within half a second."""
        self._tracker.close()

    def process(self, frame: Frame) -> FrameResult:
        """Returns the result of the next frame."""
        return self.classify(self.detect_and_track(frame))

    def detect_and_track(self, frame: Frame) -> TrackedFrame:
        """Returns the next frame with its faces, prepared for the network."""
        started = perf_counter()
        if self._scheduler is not None:
            self._scheduler.start_frame(frame)
        faces = self._tracker.update(frame.image, frame.timestamp_s)
        chosen = self._schedule(faces)
        tracked = perf_counter()
        batch = prepare_batch(
            frame.image, [faces.visible[at].face for at in chosen], self._classifier
        )
        detection = faces.detection
        waited_s = detection.elapsed_s if detection and detection.blocking else 0.0
        return TrackedFrame(
            frame,
            faces,
            chosen,
            batch,
            track_s=tracked - started - waited_s,
            prepare_s=perf_counter() - tracked,
        )

    def classify(self, tracked: TrackedFrame) -> FrameResult:
        """Returns the result of the frame that was tracked next."""
        started = perf_counter()
        rows = classify_batch(tracked.batch, self._classifier)
        classified = perf_counter()
        classify_s = tracked.prepare_s + classified - started
        results, events = self._smooth(tracked, rows)
        if self._scheduler is not None and tracked.chosen:
            spent_s = tracked.prepare_s + perf_counter() - started
            self._scheduler.record_duration(len(tracked.chosen), spent_s)
        frame, detection = tracked.frame, tracked.faces.detection
        return FrameResult(
            index=frame.index,
            timestamp_s=frame.timestamp_s,
            name=frame.name,
            faces=results,
            detect_ms=1000 * detection.elapsed_s if detection else 0.0,
            classify_ms=1000 * classify_s,
            track_ms=1000 * (tracked.track_s + perf_counter() - classified),
            age_ms=age_ms(frame),
            detected=detection is not None,
            events=events,
            hidden=tracked.faces.hidden,
            words=self._words,
        )

    def _schedule(self, faces: TrackedFaces) -> Sequence[int]:
        """Returns the indices of the visible faces that are classified now."""
        if self._scheduler is None:
            return range(len(faces.visible))
        if faces.restarted:
            self._scheduler.reset_period()
        track_ids = [each.track_id for each in faces.visible]
        return self._scheduler.choose(track_ids, faces.removed)

    def _smooth(
        self, tracked: TrackedFrame, rows: Probabilities
    ) -> tuple[tuple[FaceResult, ...], tuple[Event, ...]]:
        """Returns the results of a frame's faces, and its events.

        Args:
            tracked: The frame and its faces.
            rows: float32 (chosen faces, classes), their probabilities.
        """
        now_s, faces = tracked.frame.timestamp_s, tracked.faces
        for track_id in faces.removed:
            self._classified.pop(track_id, None)
        new = [faces.visible[at].track_id for at in tracked.chosen]
        for track_id, row in zip(new, rows, strict=True):
            self._classified[track_id] = (row, now_s)
        observations = [
            Observation(
                track_id,
                confirmed,
                self._classified[track_id][0] if track_id in new else None,
            )
            for _, track_id, confirmed in faces.visible
        ]
        decisions, events = self._decisions.update(observations, faces.removed, now_s)
        results = []
        for (face, track_id, _), decision in zip(faces.visible, decisions, strict=True):
            row, classified_s = self._classified[track_id]
            results.append(
                face_result(face, row, self._labels, track_id, decision, classified_s)
            )
        return tuple(results), events
