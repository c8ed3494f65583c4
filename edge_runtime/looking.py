"""What a detector saw: at once, or while the loop goes on with newer frames.

A detector may take as long as several frames. Of a camera the loop need not wait for
it: the detector looks at one frame in a thread of its own, faces are followed from
frame to frame meanwhile, and what was found is brought forward to the frame of the day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

from edge_runtime.boxes import RawBox, clip_box, iou
from edge_runtime.faces import Face, FaceDetector
from edge_runtime.following import Patch, follow, patch_of
from edge_runtime.preprocess import Image
from edge_runtime.tracking import LEAST_IOU, Track

if TYPE_CHECKING:
    from concurrent.futures import Future


@dataclass(frozen=True, eq=False)
class Look:
    """What a detector saw in one frame.

    Attributes:
        image: The frame, uint8 (H, W, 3) BGR or (H, W) grey.
        faces: What it found there.
        boxes: Where each followed face was then, by its track's number.
        taken_s: How long the detector took, in seconds.
    """

    image: Image
    faces: list[Face]
    boxes: dict[int, RawBox]
    taken_s: float


def look_at(image: Image, detector: FaceDetector, tracks: Sequence[Track]) -> Look:
    """Returns what a detector sees in a frame.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey.
        detector: Finds the faces.
        tracks: The faces that are followed; where they are now is kept.
    """
    boxes = {track.id: track.box for track in tracks}
    return _look(image, detector, boxes)


def _look(image: Image, detector: FaceDetector, boxes: dict[int, RawBox]) -> Look:
    started = perf_counter()
    faces = detector.detect(image)
    return Look(image, faces, boxes, perf_counter() - started)


class Lookout:
    """Looks at one frame at a time, in a thread of its own."""

    def __init__(self, detector: FaceDetector) -> None:
        """Takes the detector; nobody else may use it."""
        # Not above: pictures and videos need no thread, and wait for every import.
        from concurrent.futures import ThreadPoolExecutor

        self._detector = detector
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="detect")
        self._pending: Future[Look] | None = None

    @property
    def idle(self) -> bool:
        """Whether it may be asked to look: nothing is under way or left to be taken."""
        return self._pending is None

    def ask(self, image: Image, tracks: Sequence[Track]) -> None:
        """Has it look at a frame; only where it is ``idle``.

        Args:
            image: uint8, not to be changed until the look was taken.
            tracks: The faces that are followed.
        """
        boxes = {track.id: track.box for track in tracks}
        self._pending = self._thread.submit(_look, image, self._detector, boxes)

    def take(self) -> Look | None:
        """Returns what it saw, once; None as long as it looks.

        Raises:
            Exception: What the detector raised.
        """
        if self._pending is None or not self._pending.done():
            return None
        pending, self._pending = self._pending, None
        return pending.result()

    def close(self) -> None:
        """Asks no more; does not wait for a look that is under way."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def brought_forward(
    look: Look, image: Image, tracks: Sequence[Track]
) -> list[tuple[Face, Patch | None]]:
    """Returns the faces of a look where they are in a later frame.

    A face that was followed since has moved as its track has. Any other one is looked
    for by its likeness, and stays where it was if nothing is like it any more: the next
    look tells.

    Args:
        look: At an earlier frame of the same size.
        image: The later one, uint8 (H, W, 3) BGR or (H, W) grey.
        tracks: The faces that are followed, in this frame.

    Returns:
        Faces, each with what it looked like then; None where it has no contrast.
    """
    seen = {track.id: track.box for track in tracks if track.visible}
    moved = [
        (box, seen[number]) for number, box in look.boxes.items() if number in seen
    ]
    found = []
    for face in look.faces:
        patch = patch_of(look.image, face.box_xywh)
        place = _moved(face, moved)
        if place is None and patch is not None:
            place = follow(image, patch, face.box_xywh)
        box = clip_box(place or face.box_xywh, (image.shape[1], image.shape[0]))
        if box is not None:
            found.append((replace(face, box_xywh=box), patch))
    return found


def _moved(face: Face, moved: Sequence[tuple[RawBox, RawBox]]) -> RawBox | None:
    """Returns where a face is if one of the followed ones is it.

    Args:
        face: As it was found.
        moved: Boxes of followed faces, in the same frame and in the later one.
    """
    if not moved:
        return None
    then, now = max(moved, key=lambda pair: iou(pair[0], face.box_xywh))
    if iou(then, face.box_xywh) < LEAST_IOU:
        return None
    x, y, width, height = face.box_xywh
    # Of the centres: the size may have been corrected meanwhile.
    across = now[0] + now[2] / 2 - then[0] - then[2] / 2
    down = now[1] + now[3] / 2 - then[1] - then[3] / 2
    return x + across, y + down, width, height
