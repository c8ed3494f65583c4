"""What is said about the faces of a frame once they are found: classify, decide."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from edge_runtime.classification import (
    FaceClassifier,
    Rows,
    age_ms,
    face_result,
    probabilities,
)
from edge_runtime.decisions import Decisions, Probabilities, Rules, Sighting
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
        # Of faces that take turns, by number: the last answer, and of which time.
        self._kept: dict[int, tuple[Probabilities, float]] = {}

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
        now_s, turn = located.frame.timestamp_s, located.turn
        if turn is None:
            answers = [(row, now_s) for row in rows]
        else:
            answers = self._with_kept(located, turn, rows)
        sightings = [
            Sighting(number, confirmed, row if turn is None or at in turn else None)
            for at, ((number, confirmed), (row, _)) in enumerate(
                zip(located.tracks, answers, strict=True)
            )
        ]
        decisions, events = self._decisions.take(sightings, located.gone, now_s)
        labels = self._classifier.spec.labels
        results = tuple(
            face_result(face, row, labels, one.track_id, decision, at_s)
            for face, (row, at_s), one, decision in zip(
                located.faces, answers, sightings, decisions, strict=True
            )
        )
        return results, events

    def _with_kept(
        self, located: Located, turn: Sequence[int], rows: Rows
    ) -> list[tuple[Probabilities, float]]:
        """Returns each face's answer and its time, an earlier one where not its turn.

        Args:
            located: Where its faces are.
            turn: Places of those that were classified.
            rows: float32 (those, classes).
        """
        for number in located.gone:
            self._kept.pop(number, None)
        for at, row in zip(turn, rows, strict=True):
            self._kept[located.tracks[at][0]] = (row, located.frame.timestamp_s)
        return [self._kept[number] for number, _ in located.tracks]
