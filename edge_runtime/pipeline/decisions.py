"""Decisions about a face, from all of its frames.

A network's output flickers from frame to frame. Here its probabilities are averaged
over time, a new label must lead the old one clearly and for a while, and where even the
leading label is probably wrong the decision is ``uncertain``.

All times are those of the frames, so a file gives the same decisions at any speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edge_runtime.pipeline.classification import Probabilities
from edge_runtime.results import FACE_WORDS, UNCERTAIN, Decision, Event, Words

# After a gap between two frames of so many dwell times, one frame changes the label.
LONG_GAP_DWELLS = 2


class DecisionConfig(NamedTuple):
    """How decisions are made; docs/background/decisions.md explains the defaults.

    Attributes:
        half_life_s: Age at which a frame counts half in the average.
        margin: Lead in probability that a new label needs over the old one.
        dwell_s: How long it must lead.
        uncertain_below: Smoothed probability below which there is no label. Model files
            have a calibrated temperature, so at 0.5 half of the labels are right.
    """

    half_life_s: float = 0.5
    margin: float = 0.1
    dwell_s: float = 0.3
    uncertain_below: float = 0.5


class Observation(NamedTuple):
    """A tracked face in a frame.

    Attributes:
        track_id: Its number.
        confirmed: It is surely a face and may have events.
        probabilities: float32 (classes,); None where the face was not classified in
            this frame. It must have been in an earlier one.
    """

    track_id: int
    confirmed: bool
    probabilities: Probabilities | None


class LabelSmoother:
    """Decides about one face.

    Attributes:
        decision: The last one; None before the first.
    """

    def __init__(self, labels: Sequence[str], config: DecisionConfig) -> None:
        """Starts without a decision.

        Args:
            labels: The model's, in order.
            config: How decisions are made.
        """
        self._labels, self._config = labels, config
        self._sum = np.zeros(len(labels))
        self._weight = 0.0
        self._last_s = 0.0
        self._label = ""
        self._since_s = 0.0
        self._candidate, self._candidate_since_s = "", 0.0
        self.decision: Decision | None = None

    def update(self, probabilities: Probabilities, timestamp_s: float) -> Decision:
        """Returns the decision from this frame on.

        Args:
            probabilities: float32 (classes,), sums to 1.
            timestamp_s: The frame's time in its source; never less than before.
        """
        gap_s = timestamp_s - self._last_s if self._weight else 0.0
        average = self._average(probabilities, timestamp_s)
        self._apply_dwell(self._best_label(average), timestamp_s, gap_s)
        values = dict(zip(self._labels, average.tolist(), strict=True))
        confidence = values.get(self._label, max(values.values()))
        self.decision = Decision(self._label, confidence, values, self._since_s)
        return self.decision

    def _average(
        self, probabilities: Probabilities, timestamp_s: float
    ) -> npt.NDArray[np.float64]:
        # A weighted mean, not a filter that starts at the first frame: there the first
        # frame would weigh as much as all others for a while.
        elapsed_s = max(0.0, timestamp_s - self._last_s) if self._weight else 0.0
        decay = 0.5 ** (elapsed_s / self._config.half_life_s)
        self._sum = self._sum * decay + probabilities
        self._weight = self._weight * decay + 1.0
        self._last_s = timestamp_s
        return np.asarray(self._sum / self._weight)

    def _best_label(self, average: npt.NDArray[np.float64]) -> str:
        """Returns the label for these probabilities, by margin and threshold."""
        config, best = self._config, int(average.argmax())
        leading, highest = self._labels[best], float(average[best])
        if self._label in ("", UNCERTAIN):
            return leading if highest >= config.uncertain_below else UNCERTAIN
        current = float(average[self._labels.index(self._label)])
        if leading != self._label and highest - current >= config.margin:
            return leading if highest >= config.uncertain_below else UNCERTAIN
        # Below the threshold by the margin: a face at the threshold would flicker.
        unsure = highest < config.uncertain_below - config.margin
        return UNCERTAIN if unsure else self._label

    def _apply_dwell(self, label: str, timestamp_s: float, gap_s: float) -> None:
        """Takes a new label once it has led for long enough, or after a long gap."""
        if not self._label:
            self._label, self._since_s = label, timestamp_s
        if label == self._label:
            self._candidate = ""
            return
        if label != self._candidate:
            self._candidate, self._candidate_since_s = label, timestamp_s
        led_s = timestamp_s - self._candidate_since_s
        dwell_s = self._config.dwell_s
        if led_s >= dwell_s - 1e-9 or gap_s >= LONG_GAP_DWELLS * dwell_s:
            self._label, self._since_s = label, timestamp_s
            self._candidate = ""


class TrackDecisions:
    """Decides about every tracked face, and reports each event once."""

    def __init__(
        self,
        labels: Sequence[str],
        config: DecisionConfig,
        words: Words = FACE_WORDS,
    ) -> None:
        """Starts with no faces.

        Args:
            labels: The model's, in order.
            config: How decisions are made.
            words: What the model looks at: events are called by it.
        """
        self._labels, self._config = tuple(labels), config
        self._appeared, self._changed_kind, self._left = words.event_kinds
        self._smoothers: dict[int, LabelSmoother] = {}
        self._reported: dict[int, Decision] = {}  # by track: as in its last event

    def update(
        self,
        observations: Sequence[Observation],
        removed: Sequence[int],
        timestamp_s: float,
    ) -> tuple[list[Decision], tuple[Event, ...]]:
        """Returns the decision for each observation, and this frame's events.

        Args:
            observations: The faces in this frame.
            removed: Numbers of the faces that are no longer tracked.
            timestamp_s: The frame's time in its source.
        """
        decisions = [self._decide(each, timestamp_s) for each in observations]
        events = [self._face_left(track_id, timestamp_s) for track_id in removed]
        for observation, decision in zip(observations, decisions, strict=True):
            if observation.confirmed:
                events.append(
                    self._changed(observation.track_id, decision, timestamp_s)
                )
        happened = (event for event in events if event is not None)
        return decisions, tuple(sorted(happened, key=lambda event: event.track_id))

    def _decide(self, observation: Observation, timestamp_s: float) -> Decision:
        smoother = self._smoothers.get(observation.track_id)
        if observation.probabilities is None:
            if smoother is None or smoother.decision is None:
                raise ValueError(f"expected probabilities first, got {observation}")
            return smoother.decision
        if smoother is None:
            smoother = LabelSmoother(self._labels, self._config)
            self._smoothers[observation.track_id] = smoother
        return smoother.update(observation.probabilities, timestamp_s)

    def _changed(
        self, track_id: int, decision: Decision, timestamp_s: float
    ) -> Event | None:
        """Returns the event of a face that is new or has another label, else None."""
        before = self._reported.get(track_id)
        self._reported[track_id] = decision
        if before is not None and before.label == decision.label:
            return None
        return Event(
            self._appeared if before is None else self._changed_kind,
            track_id,
            timestamp_s,
            decision.label,
            None if before is None else before.label,
            decision.confidence,
        )

    def _face_left(self, track_id: int, timestamp_s: float) -> Event | None:
        """Forgets a face; returns its event, None where it was never reported."""
        self._smoothers.pop(track_id, None)
        last = self._reported.pop(track_id, None)
        if last is None:
            return None
        return Event(
            self._left, track_id, timestamp_s, last.label, None, last.confidence
        )
