"""The loop's work on a video: find faces, follow them, answer, decide."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from edge_runtime.boxes import clip_box, same_face
from edge_runtime.classification import (
    FaceClassifier,
    Rows,
    age_ms,
    classify,
    face_result,
)
from edge_runtime.decisions import Decisions, Rules, Sighting
from edge_runtime.faces import DETECT_EVERY, Face, FaceDetector
from edge_runtime.following import follow, patch_of
from edge_runtime.looking import Look, Lookout, brought_forward, look_at
from edge_runtime.preprocess import Image
from edge_runtime.results import Event, FaceResult, FrameResult
from edge_runtime.sources import Frame
from edge_runtime.tracking import Track, Tracker


class Pipeline:
    """Answers for the frames of a video or camera, one after the other.

    The detector runs on every n-th frame, and at once where a new face waits to be
    found again or a followed one is lost; in between faces are followed by their looks.
    With ``waits=False`` no frame waits for the detector: it looks at one frame in a
    thread of its own, and a later frame takes what it found.
    """

    def __init__(
        self,
        detector: FaceDetector,
        classifier: FaceClassifier,
        *,
        detect_every: int = DETECT_EVERY,
        rules: Rules | None = None,
        waits: bool = True,
    ) -> None:
        """Starts with no faces.

        Args:
            detector: Finds the faces.
            classifier: Answers for them, all of a frame in one call.
            detect_every: Frames from one run of the detector to the next.
            rules: How decisions are made.
            waits: A frame waits for the detector. Else answers also depend on how
                long it takes: for cameras. Close the pipeline then.
        """
        self._detector, self._classifier = detector, classifier
        # Taking the whole frame as the face costs nothing.
        self._every = 1 if detector.name == "none" else detect_every
        waits = waits or detector.name == "none"
        self._lookout = None if waits else Lookout(detector)
        self._tracker = Tracker()
        self._decisions = Decisions(classifier.spec.labels, rules or Rules())
        self._since_detection = self._every
        self._lost = False  # a face, since the detector last looked
        self._shape: tuple[int, ...] = ()

    def close(self) -> None:
        """Ends the detector's thread, if it has one."""
        if self._lookout is not None:
            self._lookout.close()

    def process(self, frame: Frame) -> FrameResult:
        """Returns the answer for the next frame."""
        started = perf_counter()
        gone = self._begin(frame)
        look = self._locate(frame.image)
        gone += self._tracker.drop_lost()
        tracks, faces = _visible(self._tracker.tracks, frame.image)
        located = perf_counter()
        rows = classify(frame.image, faces, self._classifier)
        classified = perf_counter()
        results, events = self._decide(tracks, faces, rows, gone, frame.timestamp_s)
        detect_s = look.taken_s if look else 0.0
        waited_s = 0.0 if self._lookout else detect_s
        around_s = located - started - waited_s + perf_counter() - classified
        return FrameResult(
            index=frame.index,
            timestamp_s=frame.timestamp_s,
            name=frame.name,
            faces=results,
            detect_ms=1000 * detect_s,
            classify_ms=1000 * (classified - located),
            track_ms=1000 * around_s,
            age_ms=age_ms(frame),
            detected=look is not None,
            events=events,
        )

    def _begin(self, frame: Frame) -> list[Track]:
        """Moves the faces on in time; returns those that are gone since the last."""
        gone: list[Track] = []
        if frame.image.shape[:2] != self._shape:  # a stream came back in another size
            self._shape = frame.image.shape[:2]
            self._since_detection = self._every
            gone = self._tracker.drop_all()
        gone += self._tracker.advance(frame.timestamp_s)
        if gone:  # whoever is there now is to be seen at once
            self._since_detection = self._every
        return gone

    def _locate(self, image: Image) -> Look | None:
        """Finds the faces; returns what the detector saw, if it has just seen it."""
        lost = self._follow(image, self._tracker.tracks)
        self._lost = self._lost or lost
        self._since_detection += 1
        if self._lookout is not None:
            return self._locate_meanwhile(image, self._lookout)
        if not self._due:
            return None
        self._since_detection, self._lost = 0, False
        look = look_at(image, self._detector, self._tracker.tracks)
        for track in self._take(look.faces):
            track.patch = None if track.whole else patch_of(image, track.box)
        return look

    def _locate_meanwhile(self, image: Image, lookout: Lookout) -> Look | None:
        """Takes what was seen since the last frame, and asks for more if need be."""
        look = lookout.take()
        if look is not None and look.image.shape[:2] != image.shape[:2]:
            look = None  # the stream came back in another size
        if look is not None:
            found = brought_forward(look, image, self._tracker.tracks)
            tracks = self._take([face for face, _ in found])
            for track, (_, patch) in zip(tracks, found, strict=True):
                track.patch = patch
        if lookout.idle and self._due:
            self._since_detection, self._lost = 0, False
            lookout.ask(image, self._tracker.tracks)
        return look

    @property
    def _due(self) -> bool:
        """Whether the detector is to look again."""
        unsettled = any(not track.confirmed for track in self._tracker.tracks)
        return self._lost or unsettled or self._since_detection >= self._every

    def _take(self, faces: Sequence[Face]) -> list[Track]:
        """Takes what the detector found; returns the track of each of these faces."""
        followed = [
            track
            for track in self._tracker.tracks
            if track.visible and not track.coasting
        ]
        found = self._tracker.detected(faces)
        for track in followed:  # overlooked by the detector, but plainly there
            hidden = any(same_face(track.box, other.box) for other in found)
            track.visible = track.visible or not hidden
        return found

    def _follow(self, image: Image, tracks: Sequence[Track]) -> bool:
        """Looks for every visible face near by; returns whether one was lost."""
        lost = False
        for track in tracks:
            if not track.visible or track.whole:
                continue
            box = follow(image, track.patch, track.box) if track.patch else None
            if box is None:
                # A detector that is waited for says at once whether it is there.
                track.visible = track.coasting = self._lookout is not None
                lost = True
            else:
                self._tracker.found(track, box)
        return lost

    def _decide(
        self,
        tracks: Sequence[Track],
        faces: Sequence[Face],
        rows: Rows,
        gone: Sequence[Track],
        timestamp_s: float,
    ) -> tuple[tuple[FaceResult, ...], tuple[Event, ...]]:
        """Returns this frame's answers and what happened."""
        sightings = [
            Sighting(track.id, track.confirmed, row)
            for track, row in zip(tracks, rows, strict=True)
        ]
        left = [track.id for track in gone]
        decisions, events = self._decisions.take(sightings, left, timestamp_s)
        labels = self._classifier.spec.labels
        results = tuple(
            face_result(face, row, labels, track.id, decision)
            for track, face, row, decision in zip(
                tracks, faces, rows, decisions, strict=True
            )
        )
        return results, events


def _visible(tracks: Sequence[Track], image: Image) -> tuple[list[Track], list[Face]]:
    """Returns the tracks that can be seen and their faces, largest first."""
    frame_wh = (image.shape[1], image.shape[0])
    pairs = []
    for track in tracks:
        box = clip_box(track.box, frame_wh) if track.visible else None
        if box is not None:
            pairs.append((track, Face(box, track.score, track.whole)))
    pairs.sort(key=lambda pair: -pair[1].box_xywh[2] * pair[1].box_xywh[3])
    return [track for track, _ in pairs], [face for _, face in pairs]
