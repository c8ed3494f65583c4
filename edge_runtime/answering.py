"""What is said about the faces of a frame once they are found: classify, decide."""

from __future__ import annotations

from time import perf_counter

from edge_runtime.classification import (
    FaceClassifier,
    Rows,
    age_ms,
    face_result,
    probabilities,
)
from edge_runtime.decisions import Decisions, Rules, Sighting
from edge_runtime.located import Located
from edge_runtime.results import Event, FaceResult, FrameResult


class Answers:
    """Answers for one located frame after the other."""

    def __init__(self, classifier: FaceClassifier, rules: Rules) -> None:
        """Starts with no faces.

        Args:
            classifier: Answers for them, all of a frame in one call.
            rules: How decisions are made.
        """
        self._classifier = classifier
        self._decisions = Decisions(classifier.spec.labels, rules)

    def answer(self, located: Located) -> FrameResult:
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
        )

    def _decide(
        self, located: Located, rows: Rows
    ) -> tuple[tuple[FaceResult, ...], tuple[Event, ...]]:
        """Returns a frame's answers and what happened."""
        sightings = [
            Sighting(number, confirmed, row)
            for (number, confirmed), row in zip(located.tracks, rows, strict=True)
        ]
        decisions, events = self._decisions.take(
            sightings, located.gone, located.frame.timestamp_s
        )
        labels = self._classifier.spec.labels
        results = tuple(
            face_result(face, one.probabilities, labels, one.track_id, decision)
            for face, one, decision in zip(
                located.faces, sightings, decisions, strict=True
            )
        )
        return results, events
