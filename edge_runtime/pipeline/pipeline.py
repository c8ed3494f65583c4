"""The loop's work on a video: find faces, follow them, have them answered."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from edge_runtime.detection.base import DETECT_EVERY, Face, FaceDetector
from edge_runtime.detection.boxes import RawBox, same_face
from edge_runtime.pipeline.classification import FaceClassifier, prepare_batch
from edge_runtime.pipeline.frame_classifier import FrameClassifier, TrackedFrame
from edge_runtime.pipeline.scheduler import RoundRobinScheduler
from edge_runtime.pipeline.smoothing import SmoothingConfig
from edge_runtime.preprocessing import Image
from edge_runtime.results import FrameResult
from edge_runtime.sources import Frame
from edge_runtime.tracking.background_detection import (
    BackgroundDetector,
    DetectionResult,
    fast_forward,
    run_detector,
)
from edge_runtime.tracking.face_tracker import hidden_regions, visible_faces
from edge_runtime.tracking.template_matching import follow, patch_of
from edge_runtime.tracking.tracker import Track, Tracker

# Of the time between two frames: a detector that takes less of it is waited for.
WAITING_SHARE = 0.5


class Pipeline:
    """Answers for the frames of a video or camera, one after the other.

    In two steps, ``locate`` and ``answer``, each of which wants every frame in order.
    Without ``turns`` they share nothing that changes: one thread may locate the faces
    of the next frames while another answers for this one. ``process`` does one after
    the other.

    The detector runs on every n-th frame, and at once where a new face waits to be
    found again or a followed one is lost; in between faces are followed by their looks.
    With ``waits=False`` a frame waits for the detector only where the next one is far
    off. Else it looks at one frame in a thread of its own, and a later frame takes what
    it found.
    """

    def __init__(
        self,
        detector: FaceDetector,
        classifier: FaceClassifier,
        *,
        detect_every: int = DETECT_EVERY,
        rules: SmoothingConfig | None = None,
        waits: bool = True,
        turns: RoundRobinScheduler | None = None,
    ) -> None:
        """Starts with no faces.

        Args:
            detector: Finds the faces.
            classifier: Answers for them, all of a frame in one call.
            detect_every: Frames from one run of the detector to the next.
            rules: How decisions are made.
            waits: Every frame waits for the detector. Else answers also depend on how
                long it takes: for cameras. Close the pipeline then.
            turns: For cameras: faces for which there is no time until the next frame
                keep their answer for a while. None: all are classified in every frame.
        """
        self._detector, self._classifier = detector, classifier
        # Taking the whole frame as the face costs nothing.
        self._every = 1 if detector.name == "none" else detect_every
        waits = waits or detector.name == "none"
        self._lookout = None if waits else BackgroundDetector(detector)
        self._tracker = Tracker()
        self._turns = turns
        self._answers = FrameClassifier(classifier, rules or SmoothingConfig())
        self._since_detection = self._every
        self._lost = False  # a face, since the detector last looked
        self._taken_s = 0.0  # by the detector's last look
        # Of the frame before, where nobody waits:
        self._before: Image | None = None
        self._places: dict[int, RawBox] = {}
        self._shape: tuple[int, ...] = ()

    def close(self) -> None:
        """Ends the detector's thread, if it has one: half a second at most."""
        if self._lookout is not None:
            self._lookout.close()

    def process(self, frame: Frame) -> FrameResult:
        """Returns the answer for the next frame."""
        return self.answer(self.locate(frame))

    def locate(self, frame: Frame) -> TrackedFrame:
        """Returns the next frame with its faces, prepared for the network."""
        started = perf_counter()
        gone = self._begin(frame)
        look = self._locate(frame.image)
        gone += self._tracker.drop_lost()
        if self._lookout is not None:
            self._before, self._places = frame.image, self._seen_boxes()
        tracks, faces = visible_faces(self._tracker.tracks, frame.image)
        turn = self._turn(tracks, gone)
        chosen = faces if turn is None else [faces[at] for at in turn]
        located = perf_counter()
        batch = prepare_batch(frame.image, chosen, self._classifier)
        waited_s = look.taken_s if look and look.waited else 0.0
        return TrackedFrame(
            frame=frame,
            faces=faces,
            tracks=[(track.id, track.confirmed) for track in tracks],
            turn=turn,
            batch=batch,
            gone=[track.id for track in gone],
            unseen=hidden_regions(self._tracker.tracks, frame.timestamp_s, frame.image),
            look=look,
            prepare_s=perf_counter() - located,
            follow_s=located - started - waited_s,
        )

    def answer(self, located: TrackedFrame) -> FrameResult:
        """Returns the answer for the frame that was located next."""
        started = perf_counter()
        result = self._answers.answer(located)
        faces = len(located.batch)
        if self._turns is not None and faces:
            took_s = located.prepare_s + perf_counter() - started
            self._turns.record_duration(faces, took_s)
        return result

    def _begin(self, frame: Frame) -> list[Track]:
        """Moves the faces on in time; returns those that are gone since the last."""
        if self._turns is not None:
            self._turns.begin(frame)
        resized = frame.image.shape[:2] != self._shape  # a stream came back
        self._shape = frame.image.shape[:2]
        gone = self._tracker.drop_all() if resized else []
        outage = self._tracker.advance(frame.timestamp_s)
        if resized or outage is not None:  # who is there now is to be seen at once
            self._since_detection = self._every
            if self._lookout is not None:
                self._lookout.forget()
            if self._turns is not None:
                self._turns.forget_period()
        return gone + (outage or [])

    def _turn(self, tracks: Sequence[Track], gone: Sequence[Track]) -> list[int] | None:
        """Returns the places of those that are classified now, None for all."""
        if self._turns is None:
            return None
        return self._turns.choose(
            [track.id for track in tracks], [track.id for track in gone]
        )

    def _locate(self, image: Image) -> DetectionResult | None:
        """Finds the faces; returns what the detector saw, if it has just seen it."""
        lost = self._follow(image, self._tracker.tracks)
        self._lost = self._lost or lost
        self._since_detection += 1
        if self._lookout is not None and not self._worth_waiting(self._lookout):
            return self._locate_meanwhile(image, self._lookout)
        if not self._due:
            return None
        self._since_detection, self._lost = 0, False
        look = run_detector(image, self._detector, self._seen_boxes())
        self._taken_s = look.taken_s
        for track in self._take(look.faces):
            track.patch = None if track.whole else patch_of(image, track.box)
        return look

    def _worth_waiting(self, lookout: BackgroundDetector) -> bool:
        """Returns whether the detector should be done well before the next frame."""
        return lookout.idle and self._taken_s < WAITING_SHARE * self._tracker.step_s

    def _locate_meanwhile(
        self, image: Image, lookout: BackgroundDetector
    ) -> DetectionResult | None:
        """Takes what was seen since the last frame, and asks for more if need be."""
        taken = lookout.take()
        if taken is not None:
            chase, since = taken
            self._taken_s = chase.look.taken_s
            found = fast_forward(chase, since, image, self._tracker.tracks)
            tracks = self._take(
                [one.face for one in found], [one.track_id for one in found]
            )
            for track, one in zip(tracks, found, strict=True):
                track.patch = one.patch
        if not lookout.idle:
            lookout.pass_by(image)
        elif self._due:
            self._since_detection, self._lost = 0, False
            lookout.ask(image, self._seen_boxes())
        return taken[0].look if taken else None

    def _seen_boxes(self) -> dict[int, RawBox]:
        """Returns where each visible face is, by its track's number."""
        return {one.id: one.box for one in self._tracker.tracks if one.visible}

    @property
    def _due(self) -> bool:
        """Whether the detector is to look again."""
        unsettled = any(not track.confirmed for track in self._tracker.tracks)
        return self._lost or unsettled or self._since_detection >= self._every

    def _take(
        self, faces: Sequence[Face], known: Sequence[int | None] = ()
    ) -> list[Track]:
        """Takes what the detector found; returns the track of each of these faces."""
        followed = [
            track
            for track in self._tracker.tracks
            if track.visible and not track.coasting
        ]
        found = self._tracker.detected(faces, known)
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
                self._lose(track, image)
                lost = True
            else:
                self._tracker.found(track, box)
        return lost

    def _lose(self, track: Track, image: Image) -> None:
        """Hides a face that no longer looks like itself, or has it coast.

        A detector that is waited for says at once whether it is there. Until one that
        is not says so, the face is where it looks as it did in the frame before, or
        else where its speed has brought it.
        """
        if self._lookout is None:
            track.visible = False
            return
        place, patch = self._places.get(track.id), None
        if place is not None and self._before is not None:
            patch = patch_of(self._before, place)
        box = follow(image, patch, track.box) if patch else None
        if box is not None:
            self._tracker.found(track, box)
            track.box = box  # smoothed, it would fall behind more with each frame
        track.coasting = True
