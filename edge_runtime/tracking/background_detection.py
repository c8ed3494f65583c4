"""A detector's result: at once, or from a thread while newer frames are processed.

A detector may take as long as several frames, and a camera's frames need not wait for
it. It then works on one frame in a thread of its own, while faces are tracked from
frame to frame. Its result is carried forward to the current frame.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from time import perf_counter

from edge_runtime.detection.base import Face, FaceDetector
from edge_runtime.detection.boxes import RawBox, clip_box
from edge_runtime.preprocessing import Image
from edge_runtime.tracking.template_matching import Patch, extract_patch, find_patch
from edge_runtime.tracking.tracker import Track, best_pairs, matching_iou

# The loop waits for a detector that takes longer. If it hangs, the loop stands still
# and the watchdog restarts the process.
MAX_DETECTION_S = 10.0
# How long closing waits for a detection. If Python ends during one, OpenCV's thread
# finds nothing to return to and the process is aborted.
CLOSE_TIMEOUT_S = 0.5
MAX_PENDING_FRAMES = 8  # frames that wait to be replayed: some megabytes


@dataclass(frozen=True, eq=False)
class DetectionResult:
    """The faces that a detector found in one frame.

    Attributes:
        image: The frame, uint8 (H, W, 3) BGR or (H, W) grey.
        faces: The faces in it.
        track_boxes: Box of each tracked face in this frame, by its track's number.
        elapsed_s: Duration of the detection in seconds.
        blocking: The frame waited for it.
    """

    image: Image
    faces: list[Face]
    track_boxes: dict[int, RawBox]
    elapsed_s: float
    blocking: bool


@dataclass(frozen=True, eq=False)
class ReplayedFace:
    """A detected face at its place in a later frame.

    Attributes:
        face: The face in the later frame.
        patch: Its appearance in the frame of the detection; None without contrast.
        track_id: Number of the tracked face that it is; None for a new one.
    """

    face: Face
    patch: Patch | None
    track_id: int | None


def run_detector(
    image: Image,
    detector: FaceDetector,
    track_boxes: dict[int, RawBox],
    *,
    blocking: bool = True,
) -> DetectionResult:
    """Returns the faces that a detector finds in a frame.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey.
        detector: Finds the faces.
        track_boxes: Box of each tracked face, by its track's number.
        blocking: The frame waits for it.
    """
    started = perf_counter()
    faces = detector.detect(image)
    elapsed_s = perf_counter() - started
    return DetectionResult(image, faces, track_boxes, elapsed_s, blocking)


class DetectionReplay:
    """Follows the faces of a detection through the frames that came after it.

    Attributes:
        detection: The detector's result for the first frame.
        patches: Appearance of each of its faces there; None without contrast.
        boxes: Box of each face in the latest frame; None for a lost one.
        pending: Later frames that were not replayed yet, oldest first.
    """

    def __init__(self, detection: DetectionResult) -> None:
        """Starts in the detection's own frame."""
        self.detection = detection
        boxes = [face.box_xywh for face in detection.faces]
        self.patches = [extract_patch(detection.image, box) for box in boxes]
        self.boxes: list[RawBox | None] = [*boxes]
        self.pending: list[Image] = []
        self._previous_image = detection.image

    def advance(self, image: Image) -> None:
        """Finds the faces in the next frame, uint8 (H, W, 3) BGR or (H, W) grey.

        By their appearance in the first frame, or else in the frame before: a face that
        turns or laughs soon differs from the first.
        """
        previous, self._previous_image = self._previous_image, image
        for index, box in enumerate(self.boxes):
            if box is None:
                continue
            patch = self.patches[index]
            found = find_patch(image, patch, box) if patch else None
            if found is None:
                patch = extract_patch(previous, box)
                found = find_patch(image, patch, box) if patch else None
            self.boxes[index] = found


class BackgroundDetector:
    """Runs a detector on one frame at a time, in a thread of its own.

    The thread also replays the frames that came during the detection, so that only one
    or two are left for the frame that takes the result.
    """

    def __init__(self, detector: FaceDetector) -> None:
        """Starts no thread yet.

        Args:
            detector: Nothing else may use it except while this is ``idle``.
        """
        self._detector = detector
        self._requests: SimpleQueue[tuple[Image, dict[int, RawBox]] | None]
        self._requests = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._done = threading.Event()
        self._submitted_s: float | None = None
        self._outcome: DetectionReplay | Exception | None = None
        self._discarded = False
        self._pending: list[Image] = []
        self._pending_lock = threading.Lock()

    @property
    def idle(self) -> bool:
        """Whether nothing was submitted whose result has not been taken."""
        return self._submitted_s is None

    def submit(self, image: Image, track_boxes: dict[int, RawBox]) -> None:
        """Starts a detection; only where it is ``idle``.

        Args:
            image: uint8, not to be changed before the result was taken.
            track_boxes: Box of each tracked face, by its track's number.
        """
        self._discarded, self._submitted_s = False, perf_counter()
        self._done.clear()
        self._requests.put((image, track_boxes))
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._serve, name="detect", daemon=True
            )
            self._thread.start()

    def add_frame(self, image: Image) -> None:
        """Keeps a frame that came during the detection, for the replay.

        At most ``MAX_PENDING_FRAMES`` are kept: of more only every second one.

        Args:
            image: uint8, not to be changed before the result was taken.
        """
        with self._pending_lock:
            if len(self._pending) == MAX_PENDING_FRAMES:
                del self._pending[::2]
            self._pending.append(image)

    def discard(self) -> None:
        """Drops the result of the current detection: it shows another scene."""
        self._discarded = True

    def result(self) -> DetectionReplay | None:
        """Returns the result once; None before the end, or if it was discarded.

        Waits for the end if the detection has taken ``MAX_DETECTION_S``.

        Raises:
            Exception: What the detector raised.
        """
        if self._submitted_s is None:
            return None
        overdue = perf_counter() - self._submitted_s > MAX_DETECTION_S
        if not self._done.wait(None if overdue else 0.0):
            return None
        outcome, self._outcome, self._submitted_s = self._outcome, None, None
        pending = self._take_pending()
        if isinstance(outcome, Exception):
            raise outcome
        if self._discarded or outcome is None:
            return None
        outcome.pending = pending
        return outcome

    def close(self) -> None:
        """Ends the thread; waits ``CLOSE_TIMEOUT_S`` at most for a detection."""
        self._discarded = True
        self._requests.put(None)
        if not self.idle:
            self._done.wait(CLOSE_TIMEOUT_S)

    def _serve(self) -> None:
        while (request := self._requests.get()) is not None:
            try:
                self._outcome = self._detect(*request)
            except Exception as error:  # whatever it is, ``result`` raises it
                self._outcome = error
            del request  # an idle thread keeps no image alive
            self._done.set()

    def _detect(self, image: Image, track_boxes: dict[int, RawBox]) -> DetectionReplay:
        detection = run_detector(image, self._detector, track_boxes, blocking=False)
        replay = DetectionReplay(detection)
        for later in self._take_pending():  # once: few come during the replay
            if not self._discarded:
                replay.advance(later)
        return replay

    def _take_pending(self) -> list[Image]:
        with self._pending_lock:
            pending, self._pending = self._pending, []
        return pending


def fast_forward(
    replay: DetectionReplay, image: Image, tracks: Sequence[Track]
) -> list[ReplayedFace]:
    """Replays a detection up to a frame; returns its faces at their places there.

    A face that is lost on the way has moved as its track has. Without a track it is
    left out.

    Args:
        replay: Of a detection in an earlier frame of the same size.
        image: The frame, uint8 (H, W, 3) BGR or (H, W) grey.
        tracks: The tracked faces in this frame.
    """
    for later in (*replay.pending, image):
        replay.advance(later)
    detection = replay.detection
    boxes_then = detection.track_boxes
    candidates = [track for track in tracks if track.visible and track.id in boxes_then]
    pairs = best_pairs(
        len(detection.faces),
        len(candidates),
        lambda face_index, track_index: matching_iou(
            boxes_then[candidates[track_index].id], detection.faces[face_index]
        ),
    )
    frame_wh = (image.shape[1], image.shape[0])
    replayed = []
    for index, face in enumerate(detection.faces):
        track = candidates[pairs[index]] if index in pairs else None
        raw_box = replay.boxes[index]
        if raw_box is None and track is not None:
            raw_box = _moved(face, boxes_then[track.id], track.box)
        box = clip_box(raw_box, frame_wh) if raw_box else None
        if box is not None:
            track_id = track.id if track else None
            moved = face._replace(box_xywh=box)
            replayed.append(ReplayedFace(moved, replay.patches[index], track_id))
    return replayed


def _moved(face: Face, before: RawBox, after: RawBox) -> RawBox:
    """Returns a face's box, moved as the centre of its track's box has moved."""
    x, y, width, height = face.box_xywh
    # The centre: the track's size may have been corrected in between.
    dx = after[0] + after[2] / 2 - before[0] - before[2] / 2
    dy = after[1] + after[3] / 2 - before[1] - before[3] / 2
    return x + dx, y + dy, width, height
