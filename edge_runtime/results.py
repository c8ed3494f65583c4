"""The results of a frame: faces, decisions and events.

They are named tuples, which take a third of the time of a frozen dataclass, as do their
classes: that is part of the time to the first label. ``FrameResult`` cannot be one: its
field ``index`` has the name of a tuple's method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Box = tuple[int, int, int, int]
EventKind = Literal[
    "face_appeared",
    "expression_changed",
    "face_left",
    "object_appeared",
    "label_changed",
    "object_left",
]

UNCERTAIN = "uncertain"


class Words(NamedTuple):
    """What a model looks at, and what its labels are, in one word each.

    People read these words. Programs read ``thing``, ``things`` and ``quality``, of
    which there are two each.

    Attributes:
        subject: Such as ``"face"`` or ``"bottle"``.
        labels_are: Such as ``"expression"`` or ``"material"``.
    """

    subject: str = "face"
    labels_are: str = "expression"

    @property
    def thing(self) -> Literal["face", "object"]:
        """``"face"``, or ``"object"`` for all else."""
        return "face" if self.subject == "face" else "object"

    @property
    def subjects(self) -> str:
        """The subject in the plural, as far as English has rules."""
        return plural(self.subject)

    @property
    def things(self) -> Literal["faces", "objects"]:
        """More of them."""
        return "faces" if self.subject == "face" else "objects"

    @property
    def quality(self) -> Literal["expression", "label"]:
        """``"expression"``, or ``"label"`` for all else."""
        return "expression" if self.labels_are == "expression" else "label"

    @property
    def event_kinds(self) -> tuple[EventKind, EventKind, EventKind]:
        """Kinds of the events: one is new, has another label, is gone."""
        face = self.thing == "face"
        return (
            "face_appeared" if face else "object_appeared",
            "expression_changed" if self.quality == "expression" else "label_changed",
            "face_left" if face else "object_left",
        )


def plural(word: str) -> str:
    """Returns the plural of an English word, such as ``boxes``, as far as rules go."""
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return f"{word}es"
    if word.endswith("y") and word[-2:-1] not in tuple("aeiou"):
        return f"{word[:-1]}ies"
    return f"{word}s"


FACE_WORDS = Words()


def words_of(spec: Any) -> Words:
    """Returns the words of a model; those of facial expression where it has none.

    Args:
        spec: A ``ModelSpec``, or an object without its ``subject``.
    """
    subject = getattr(spec, "subject", None)
    return Words(subject, spec.labels_are) if subject else FACE_WORDS


class Decision(NamedTuple):
    """The label of a tracked face, from all of its frames so far.

    Attributes:
        label: Name of a class, or ``"uncertain"``.
        confidence: Its smoothed probability, 0..1; for ``"uncertain"`` the highest one.
        probabilities: Smoothed probability of each label, in the model's order.
        since_s: Time in the source since which this is the label, in seconds.
    """

    label: str
    confidence: float
    probabilities: dict[str, float]
    since_s: float


class FaceResult(NamedTuple):
    """The result for one face in one frame.

    Attributes:
        box_xywh: Left, top, width, height in the frame's pixels.
        score: The detector's when it last found the face, 0..1.
        label: Name of the most probable class in one frame alone: this one, or an
            earlier one where there is no time to classify every face.
        confidence: Its probability, 0..1.
        probabilities: Probability of each label, in the model's order; sums to 1.
        track_id: The face's number, from 1, the same for as long as it is tracked; None
            in single images.
        decision: From its frames so far; None in single images.
        classified_s: Time in the source of the frame that label, confidence and
            probabilities are from, in seconds; None in single images.
        region: Name of the region that it is in; None where regions have no names.
    """

    box_xywh: Box
    score: float
    label: str
    confidence: float
    probabilities: dict[str, float]
    track_id: int | None = None
    decision: Decision | None = None
    classified_s: float | None = None
    region: str | None = None


class Event(NamedTuple):
    """Something that happened to a tracked face, reported exactly once.

    Attributes:
        kind: ``"face_appeared"``, ``"expression_changed"`` or ``"face_left"``; of a
            model that does not look at faces ``"object_appeared"`` and
            ``"object_left"``, and of labels that are not expressions
            ``"label_changed"``.
        track_id: The face's number.
        timestamp_s: Time of the frame in its source, in seconds.
        label: The decision from then on; of what left, the last one.
        previous: The decision before it changed; otherwise None.
        confidence: The decision's, 0..1.
        region: Name of the region that it happened in; None where regions have no
            names.
    """

    kind: EventKind
    track_id: int
    timestamp_s: float
    label: str
    previous: str | None
    confidence: float
    region: str | None = None


class Drift(NamedTuple):
    """What drifts, reported when that changes.

    Attributes:
        timestamp_s: Time of the frame in its source, in seconds.
        quantities: What drifts from then on, such as ``"frame_brightness"``; empty
            when the drift has ended.
        reasons: The same in words.
    """

    timestamp_s: float
    quantities: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class FrameResult:
    """The result for one frame.

    Attributes:
        index: The frame's number in its source.
        timestamp_s: The frame's time in its source, in seconds.
        name: The frame's file name, or the camera's.
        faces: Largest first; may be empty.
        detect_ms: Duration of the detection; 0 without one. It is not part of the
            frame's own time if it ran in the background.
        classify_ms: Duration of cropping and classifying all faces.
        track_ms: Duration of tracking and smoothing.
        age_ms: Age of the image when the result was ready; None for files.
        detected: The detector ran on this frame, or its result for an earlier frame was
            applied to this one.
        events: The events of this frame, ordered by track id.
        hidden: Boxes that should contain the tracked faces that cannot be seen.
        words: What the model looks at. Where it is not faces, the faces here are what
            it looks at.
        drift: What drifts, where that has changed in this frame.
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
    words: Words = FACE_WORDS
    drift: Drift | None = None

    @property
    def classified(self) -> int:
        """Number of its faces that were classified in this frame."""
        now = (None, self.timestamp_s)
        return sum(face.classified_s in now for face in self.faces)
