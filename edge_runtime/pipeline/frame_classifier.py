"""The faces of one tracked frame after the other: classified, smoothed."""

from __future__ import annotations

from time import perf_counter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edge_runtime.detection.base import Face
from edge_runtime.pipeline.classification import (
    FaceClassifier,
    Rows,
    age_ms,
    face_result,
    probabilities,
)
from edge_runtime.pipeline.smoothing import (
    Observation,
    Probabilities,
    SmoothingConfig,
    TrackDecisions,
)
from edge_runtime.results import Box, Event, FaceResult, FrameResult
from edge_runtime.sources import Frame
from edge_runtime.tracking.background_detection import DetectionResult


class _Answer(NamedTuple):
    """The network's answer for a face: float32 (classes,), of when, of this frame."""

    row: Probabilities
    at_s: float
    new: bool


class FrameClassifier:
    """Answers for one located frame after the other."""

    def __init__(self, classifier: FaceClassifier, rules: SmoothingConfig) -> None:
        """Starts with no faces.

        Args:
            classifier: Answers for them, all of a frame in one call.
            rules: How decisions are made.
        """
        self._classifier = classifier
        self._decisions = TrackDecisions(classifier.spec.labels, rules)
        # Of faces that take turns, by number: the last answer, and of which time.
        self._kept: dict[int, tuple[Probabilities, float]] = {}

    def answer(self, located: TrackedFrame) -> FrameResult:
        """Returns the answer for the next frame."""
        frame, look = located.frame, located.look
        started = perf_counter()
        rows = probabilities(located.batch, self._classifier)
        classified = perf_counter()
        results, events = self._decide(located, rows)
        around_s = located.follow_s + perf_counter() - classified
        return FrameResult(
            index=frame.index,
            timestamp_s=frame.timestamp_s,
            name=frame.name,
            faces=results,
            detect_ms=1000 * look.taken_s if look else 0.0,
            classify_ms=1000 * (located.prepare_s + classified - started),
            track_ms=1000 * around_s,
            age_ms=age_ms(frame),
            detected=look is not None,
            events=events,
            unseen=located.unseen,
        )

    def _decide(
        self, located: TrackedFrame, rows: Rows
    ) -> tuple[tuple[FaceResult, ...], tuple[Event, ...]]:
        """Returns a frame's answers and what happened."""
        answers = self._answers(located, rows)
        sightings = [
            Observation(number, confirmed, one.row if one.new else None)
            for (number, confirmed), one in zip(located.tracks, answers, strict=True)
        ]
        decisions, events = self._decisions.take(
            sightings, located.gone, located.frame.timestamp_s
        )
        labels = self._classifier.spec.labels
        results = tuple(
            face_result(face, one.row, labels, sighting.track_id, decision, one.at_s)
            for face, one, sighting, decision in zip(
                located.faces, answers, sightings, decisions, strict=True
            )
        )
        return results, events

    def _answers(self, located: TrackedFrame, rows: Rows) -> list[_Answer]:
        """Returns each face's answer, an earlier one where it is not its turn.

        Args:
            located: Where its faces are.
            rows: float32 (faces that were classified, classes).
        """
        now_s = located.frame.timestamp_s
        if located.turn is None:
            return [_Answer(row, now_s, True) for row in rows]
        for number in located.gone:
            self._kept.pop(number, None)
        for at, row in zip(located.turn, rows, strict=True):
            self._kept[located.tracks[at][0]] = (row, now_s)
        return [
            _Answer(*self._kept[number], at in located.turn)
            for at, (number, _) in enumerate(located.tracks)
        ]


class TrackedFrame(NamedTuple):
    """A frame whose faces were found and wait for the network.

    Attributes:
        frame: It.
        faces: Those that can be seen, largest first.
        tracks: Number of each, and whether it is surely a face.
        turn: Places in ``faces`` of those that are classified in this frame; None for
            all of them.
        batch: uint8 (those, S, S, C), as the network takes them.
        gone: Numbers of the faces that will not come back.
        unseen: Where those may be that cannot be seen just now and may come back.
        look: What the detector saw, if it has just seen it.
        prepare_s: Time for cropping and resizing them, in seconds.
        follow_s: Time for following them, without the detector's, in seconds.
    """

    frame: Frame
    faces: list[Face]
    tracks: list[tuple[int, bool]]
    turn: list[int] | None
    batch: npt.NDArray[np.uint8]
    gone: list[int]
    unseen: tuple[Box, ...]
    look: DetectionResult | None
    prepare_s: float
    follow_s: float
