"""What a detector saw: at once, or while the loop goes on with newer frames.

A detector may take as long as several frames. Of a camera the loop need not wait for
it: the detector looks at one frame in a thread of its own, faces are followed from
frame to frame meanwhile, and what was found is brought forward to the frame of the day.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter

from edge_runtime.detection.base import Face, FaceDetector
from edge_runtime.detection.boxes import RawBox, clip_box, iou
from edge_runtime.preprocessing import Image
from edge_runtime.tracking.template_matching import Patch, follow, patch_of
from edge_runtime.tracking.tracker import LEAST_IOU, Track, best_pairs
from edge_runtime.utils.workers import WorkerPool

# A detector that takes longer is waited for: one that hangs then stops the loop, whose
# watchdog has the process started again.
LONGEST_DETECTION_S = 10.0
# How long a look under way is waited for at the end. Where Python ends within one,
# OpenCV's thread comes back to nothing and the process is aborted.
CLOSING_S = 0.5
MOST_KEPT = 8  # frames that wait to be gone through: some megabytes


@dataclass(frozen=True, eq=False)
class DetectionResult:
    """What a detector saw in one frame.

    Attributes:
        image: The frame, uint8 (H, W, 3) BGR or (H, W) grey.
        faces: What it found there.
        boxes: Where each followed face was then, by its track's number.
        taken_s: How long the detector took, in seconds.
        waited: The loop waited for it.
    """

    image: Image
    faces: list[Face]
    boxes: dict[int, RawBox]
    taken_s: float
    waited: bool


@dataclass(frozen=True, eq=False)
class ReplayedFace:
    """A face of a look where it is in a later frame.

    Attributes:
        face: There.
        patch: What it looked like in the look's frame; None where it has no contrast.
        track_id: Of the followed face that it is; None for another one.
    """

    face: Face
    patch: Patch | None
    track_id: int | None


def run_detector(
    image: Image,
    detector: FaceDetector,
    boxes: dict[int, RawBox],
    *,
    waited: bool = True,
) -> DetectionResult:
    """Returns what a detector sees in a frame.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey.
        detector: Finds the faces.
        boxes: Where each followed face is, by its track's number.
        waited: The loop waits.
    """
    started = perf_counter()
    faces = detector.detect(image)
    return DetectionResult(image, faces, boxes, perf_counter() - started, waited)


class DetectionReplay:
    """Finds the faces of a look again, in one later frame after the other.

    Attributes:
        look: At the first frame.
        patches: What each of its faces looked like there; None without contrast.
        places: Where each is in the latest frame, as left, top, width and height in
            pixels; None where it got lost.
    """

    def __init__(self, look: DetectionResult) -> None:
        """Begins in the look's own frame."""
        self.look = look
        boxes = [face.box_xywh for face in look.faces]
        self.patches = [patch_of(look.image, box) for box in boxes]
        self.places: list[RawBox | None] = [*boxes]
        self._latest = look.image

    def advance(self, image: Image) -> None:
        """Finds them in the next frame, uint8 (H, W, 3) BGR or (H, W) grey.

        By what each looked like in the first, or else in the frame before: a face that
        turns or laughs is soon unlike what it was.
        """
        before, self._latest = self._latest, image
        for index, (patch, place) in enumerate(
            zip(self.patches, self.places, strict=True)
        ):
            if place is None:
                continue
            box = follow(image, patch, place) if patch else None
            if box is None:
                newer = patch_of(before, place)
                box = follow(image, newer, place) if newer else None
            self.places[index] = box


class BackgroundDetector:
    """Looks at one frame at a time, in a thread of its own.

    The thread also chases what it found through the frames that came meanwhile, so that
    the frame that takes the look has a step or two left to go.
    """

    def __init__(self, detector: FaceDetector) -> None:
        """Takes the detector; nobody else may use it unless this is ``idle``."""
        self._detector = detector
        self._crew = WorkerPool("detect")
        self._returned: threading.Event | None = None
        self._seen: DetectionReplay | Exception | None = None
        self._void = False
        self._asked_s = 0.0
        self._since: list[Image] = []
        self._passing = threading.Lock()  # guards them

    @property
    def idle(self) -> bool:
        """Whether it may be asked to look: nothing is under way or left to be taken."""
        return self._returned is None

    def ask(self, image: Image, boxes: dict[int, RawBox]) -> None:
        """Has it look at a frame; only where it is ``idle``.

        Args:
            image: uint8, not to be changed until the look was taken.
            boxes: Where each followed face is, by its track's number.
        """
        self._void, self._asked_s = False, perf_counter()
        self._returned = self._crew.call(partial(self._look, image, boxes))

    def pass_by(self, image: Image) -> None:
        """Keeps a frame that comes while it looks at another, for what it will find.

        Of many only some, at most ``MOST_KEPT``.

        Args:
            image: uint8, not to be changed until the look was taken.
        """
        with self._passing:
            if len(self._since) == MOST_KEPT:
                del self._since[::2]
            self._since.append(image)

    def forget(self) -> None:
        """Has nobody take the look under way: it is at another world."""
        self._void = True

    def take(self) -> tuple[DetectionReplay, list[Image]] | None:
        """Returns what it saw, once; None as long as it looks, or if that is void.

        With it come the frames that passed by since and were not gone through yet,
        oldest first.

        After ``LONGEST_DETECTION_S`` it waits.

        Raises:
            Exception: What the detector raised.
        """
        if self._returned is None:
            return None
        late = perf_counter() - self._asked_s > LONGEST_DETECTION_S
        if not self._returned.wait(None if late else 0.0):
            return None
        seen, self._seen, self._returned = self._seen, None, None
        since = self._take_since()
        if isinstance(seen, Exception):
            raise seen
        return None if self._void or seen is None else (seen, since)

    def close(self) -> None:
        """Asks no more; waits ``CLOSING_S`` at most for a look that is under way."""
        self._void = True  # whatever it sees
        self._crew.shutdown()
        if self._returned is not None:
            self._returned.wait(CLOSING_S)

    def _look(self, image: Image, boxes: dict[int, RawBox]) -> None:
        try:
            look = run_detector(image, self._detector, boxes, waited=False)
            chase = DetectionReplay(look)
            for later in self._take_since():  # once: what comes meanwhile is little
                if not self._void:
                    chase.advance(later)
            self._seen = chase
        except Exception as error:  # whatever it is, the loop must hear of it
            self._seen = error

    def _take_since(self) -> list[Image]:
        with self._passing:
            since, self._since = self._since, []
        return since


def fast_forward(
    chase: DetectionReplay,
    since: Sequence[Image],
    image: Image,
    tracks: Sequence[Track],
) -> list[ReplayedFace]:
    """Takes a chase to its end; returns the faces where they are in that frame.

    Each is looked for in one frame after the other. Where it gets lost, one that was
    followed since has moved as its track has, and any other one is left out.

    Args:
        chase: Of a look at an earlier frame of the same size.
        since: Frames between where it is and the later one, oldest first.
        image: The later one, uint8 (H, W, 3) BGR or (H, W) grey.
        tracks: The faces that are followed, in this frame.
    """
    for later in (*since, image):
        chase.advance(later)
    look = chase.look
    followed = [t for t in tracks if t.visible and t.id in look.boxes]
    pairs = best_pairs(
        len(look.faces),
        len(followed),
        lambda face, at: _overlap(look.boxes[followed[at].id], look.faces[face]),
    )
    found = []
    for index, face in enumerate(look.faces):
        track = followed[pairs[index]] if index in pairs else None
        patch, place = chase.patches[index], chase.places[index]
        if place is None and track is not None:
            place = _moved(face, look.boxes[track.id], track.box)
        box = clip_box(place, (image.shape[1], image.shape[0])) if place else None
        if box is not None:
            number = track.id if track else None
            found.append(ReplayedFace(face._replace(box_xywh=box), patch, number))
    return found


def _overlap(box: RawBox, face: Face) -> float:
    overlap = iou(box, face.box_xywh)
    return overlap if overlap >= LEAST_IOU else 0.0


def _moved(face: Face, then: RawBox, now: RawBox) -> RawBox:
    """Returns where a face is whose track was at one place and is now at another."""
    x, y, width, height = face.box_xywh
    # Of the centres: the size may have been corrected meanwhile.
    across = now[0] + now[2] / 2 - then[0] - then[2] / 2
    down = now[1] + now[3] / 2 - then[1] - then[3] / 2
    return x + across, y + down, width, height
