"""What is said about a face, from all of its frames: decisions instead of noise.

A network's answer flickers from frame to frame. Here its probabilities are averaged
over time, a new label must beat the old one clearly and for a while, and where even the
leading label is more likely wrong than right, the answer is ``uncertain``.

All times are those of the frames, so a file gives the same decisions at any speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edge_runtime.results import UNCERTAIN, Decision, Event

LONG_GAP_DWELLS = 2  # between two frames: a change needs no second one

Probabilities = npt.NDArray[np.float32]


class SmoothingConfig(NamedTuple):
    """How decisions are made; docs/decisions.md says how the figures were chosen.

    Attributes:
        half_life_s: Age at which a frame counts half in the average.
        margin: By how much a new label's probability must beat the old one's.
        dwell_s: How long it must do so.
        uncertain_below: Smoothed probability under which no label is given. Model
            files carry a calibrated temperature, so at 0.5 half of the answers hold.
    """

    half_life_s: float = 0.5
    margin: float = 0.1
    dwell_s: float = 0.3
    uncertain_below: float = 0.5


_DEFAULTS = SmoothingConfig()


class Observation(NamedTuple):
    """A face in this frame.

    Attributes:
        track_id: Its number.
        confirmed: It is surely a face: it may be announced.
        probabilities: float32 (classes,), the network's for this frame; None where it
            did not look at this face. There must have been some before.
    """

    track_id: int
    confirmed: bool
    probabilities: Probabilities | None


class LabelSmoother:
    """Decides about one face.

    Attributes:
        decision: The last one; None before the first.
    """

    def __init__(self, labels: Sequence[str], rules: SmoothingConfig) -> None:
        """Takes the model's labels in order."""
        self._labels, self._rules = labels, rules
        self._sum = np.zeros(len(labels))
        self._weight = 0.0
        self._last_s = 0.0
        self._label = ""
        self._since_s = 0.0
        self._rival, self._rival_since_s = "", 0.0
        self.decision: Decision | None = None

    def decide(self, probabilities: Probabilities, timestamp_s: float) -> Decision:
        """Returns what is said from this frame on.

        Args:
            probabilities: float32 (classes,), sums to 1.
            timestamp_s: The frame's time in its source; never less than before.
        """
        gap_s = timestamp_s - self._last_s if self._weight else 0.0
        smooth = self._smoothed(probabilities, timestamp_s)
        self._choose(self._candidate(smooth), timestamp_s, gap_s)
        values = dict(zip(self._labels, smooth.tolist(), strict=True))
        confidence = values.get(self._label, max(values.values()))
        self.decision = Decision(self._label, confidence, values, self._since_s)
        return self.decision

    def _smoothed(
        self, probabilities: Probabilities, timestamp_s: float
    ) -> npt.NDArray[np.float64]:
        # A weighted mean, not a filter that starts at the first frame: that one would
        # weigh as much as all others for a while.
        elapsed_s = max(0.0, timestamp_s - self._last_s) if self._weight else 0.0
        keep = 0.5 ** (elapsed_s / self._rules.half_life_s)
        self._sum = self._sum * keep + probabilities
        self._weight = self._weight * keep + 1.0
        self._last_s = timestamp_s
        return np.asarray(self._sum / self._weight)

    def _candidate(self, smooth: npt.NDArray[np.float64]) -> str:
        """Returns the label that these probabilities speak for."""
        rules, best = self._rules, int(smooth.argmax())
        leading, lead = self._labels[best], float(smooth[best])
        if self._label in ("", UNCERTAIN):
            return leading if lead >= rules.uncertain_below else UNCERTAIN
        held = float(smooth[self._labels.index(self._label)])
        if leading != self._label and lead - held >= rules.margin:
            return leading if lead >= rules.uncertain_below else UNCERTAIN
        # Not the bare threshold, or a face that lies on it would flicker.
        unsure = lead < rules.uncertain_below - rules.margin
        return UNCERTAIN if unsure else self._label

    def _choose(self, candidate: str, timestamp_s: float, gap_s: float) -> None:
        """Makes a candidate the decision once it has held long enough.

        Where frames are so far apart, that was in the gap before this one.
        """
        if not self._label:
            self._label, self._since_s = candidate, timestamp_s
        if candidate == self._label:
            self._rival = ""
            return
        if candidate != self._rival:
            self._rival, self._rival_since_s = candidate, timestamp_s
        held_s = timestamp_s - self._rival_since_s
        dwell_s = self._rules.dwell_s
        if held_s >= dwell_s - 1e-9 or gap_s >= LONG_GAP_DWELLS * dwell_s:
            self._label, self._since_s = candidate, timestamp_s
            self._rival = ""


class TrackDecisions:
    """Decides about every face of a source and tells what happened, once."""

    def __init__(self, labels: Sequence[str], rules: SmoothingConfig) -> None:
        """Takes the model's labels in order."""
        self._labels, self._rules = tuple(labels), rules
        self._judges: dict[int, LabelSmoother] = {}
        self._told: dict[int, Decision] = {}  # announced faces, as last told

    def take(
        self, sightings: Sequence[Observation], gone: Sequence[int], timestamp_s: float
    ) -> tuple[list[Decision], tuple[Event, ...]]:
        """Returns a decision for each sighting, and this frame's events.

        Args:
            sightings: The faces in this frame.
            gone: Numbers of the faces that will not come back.
            timestamp_s: The frame's time in its source.
        """
        decisions = [self._decide(one, timestamp_s) for one in sightings]
        events = [self._leave(track_id, timestamp_s) for track_id in gone]
        for one, decision in zip(sightings, decisions, strict=True):
            if one.confirmed:
                events.append(self._tell(one.track_id, decision, timestamp_s))
        told = (event for event in events if event is not None)
        return decisions, tuple(sorted(told, key=lambda event: event.track_id))

    def _decide(self, sighting: Observation, timestamp_s: float) -> Decision:
        judge = self._judges.get(sighting.track_id)
        if sighting.probabilities is None:
            if judge is None or judge.decision is None:
                raise ValueError(f"expected probabilities first, got {sighting}")
            return judge.decision
        if judge is None:
            judge = self._judges[sighting.track_id] = LabelSmoother(
                self._labels, self._rules
            )
        return judge.decide(sighting.probabilities, timestamp_s)

    def _tell(
        self, track_id: int, decision: Decision, timestamp_s: float
    ) -> Event | None:
        before = self._told.get(track_id)
        self._told[track_id] = decision
        label, confidence = decision.label, decision.confidence
        if before is None:
            return Event(
                "face_appeared", track_id, timestamp_s, label, None, confidence
            )
        if before.label == label:
            return None
        return Event(
            "expression_changed",
            track_id,
            timestamp_s,
            label,
            before.label,
            confidence,
        )

    def _leave(self, track_id: int, timestamp_s: float) -> Event | None:
        self._judges.pop(track_id, None)
        last = self._told.pop(track_id, None)
        if last is None:
            return None
        return Event(
            "face_left", track_id, timestamp_s, last.label, None, last.confidence
        )
