"""What the loop says about a frame: faces, decisions and events.

Named tuples, except where a field is called ``index`` as a method of every tuple is:
one is made in a third of the time of a frozen dataclass, and so is its class, which is
part of the time to the first label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Box = tuple[int, int, int, int]
EventKind = Literal["face_appeared", "expression_changed", "face_left"]

UNCERTAIN = "uncertain"


class Decision(NamedTuple):
    """What is said about a tracked face, from all of its frames so far.

    Attributes:
        label: Name of a class, or ``"uncertain"``.
        confidence: Its smoothed probability, 0..1; of ``"uncertain"`` the leading
            class's.
        probabilities: Smoothed probability of each label, in the model's order.
        since_s: Time in the source at which this label was decided, in seconds.
    """

    label: str
    confidence: float
    probabilities: dict[str, float]
    since_s: float


class FaceResult(NamedTuple):
    """The answer for one face in one frame.

    Attributes:
        box_xywh: Left, top, width, height in the frame's pixels.
        score: The detector's, 0..1, of the frame in which it last found the face.
        label: Name of the most probable class in this frame alone, or in an earlier one
            where faces take turns.
        confidence: Its probability, 0..1.
        probabilities: Probability of each label, in the model's order; sums to 1.
        track_id: The face's number, from 1, the same as long as it is followed; None
            in single pictures.
        decision: What its frames so far say; None in single pictures.
        classified_s: Time in the source of the frame that label, confidence and
            probabilities are of, in seconds; None in single pictures.
    """

    box_xywh: Box
    score: float
    label: str
    confidence: float
    probabilities: dict[str, float]
    track_id: int | None = None
    decision: Decision | None = None
    classified_s: float | None = None


class Event(NamedTuple):
    """Something that happened to a tracked face, told exactly once.

    Attributes:
        kind: ``"face_appeared"``, ``"expression_changed"`` or ``"face_left"``.
        track_id: The face's number.
        timestamp_s: Time in the source, in seconds: of the frame that settled it.
        label: The decision from then on; for ``face_left`` the last one.
        previous: The decision before it; None for the other two kinds.
        confidence: Of the decision, 0..1.
    """

    kind: EventKind
    track_id: int
    timestamp_s: float
    label: str
    previous: str | None
    confidence: float


@dataclass(frozen=True)
class FrameResult:
    """The answer for one frame.

    Attributes:
        index: The frame's number in its source.
        timestamp_s: The frame's time in its source, in seconds.
        name: The frame's file name, or the camera's.
        faces: Largest first; may be empty.
        detect_ms: Time for finding the faces; 0 where the detector did not run. Not
            part of the frame's own time where it looked in a thread of its own.
        classify_ms: Time for cropping and classifying all of them.
        track_ms: Time for following and deciding.
        age_ms: Age of the picture when the answer was ready; None for files.
        detected: The detector ran on this frame, or what it saw meanwhile in an earlier
            one was taken in.
        events: What happened in this frame, in the order of the track ids.
        hidden: Boxes that should contain the tracked faces that cannot be seen.
    """

    index: int
    timestamp_s: float
    name: str
    faces: tuple[FaceResult, ...]
    detect_ms: float
    classify_ms: float
    track_ms: float = 0.0
    age_ms: float | None = None
    detected: bool = True
    events: tuple[Event, ...] = ()
    hidden: tuple[Box, ...] = ()

    @property
    def classified(self) -> int:
        """Number of its faces that were classified in this very frame."""
        now = (None, self.timestamp_s)
        return sum(face.classified_s in now for face in self.faces)
