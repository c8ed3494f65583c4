"""The faces of each frame: found by a detector now and then, tracked in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edge_runtime.detection.base import DETECT_EVERY, Face, FaceDetector
from edge_runtime.detection.boxes import RawBox, clip_box, same_face
from edge_runtime.preprocessing import Image
from edge_runtime.results import Box
from edge_runtime.tracking.background_detection import (
    BackgroundDetector,
    DetectionResult,
    fast_forward,
    run_detector,
)
from edge_runtime.tracking.template_matching import (
    extract_patch,
    find_patch,
    looks_alike,
)
from edge_runtime.tracking.tracker import REACH_SIDES_PER_S, Track, Tracker

# A frame waits for a detector that takes less than this part of the frame interval.
BLOCKING_SHARE = 0.5
# In frames that are further apart a face cannot be followed by its appearance: it may
# be anywhere. The detector runs on each of them.
MAX_FOLLOWED_S = 0.24


class TrackedFace(NamedTuple):
    """A face in a frame.

    Attributes:
        face: Its box and the detector's score.
        track_id: Its number, from 1, the same for as long as it is tracked.
        confirmed: The detector found it more than once.
    """

    face: Face
    track_id: int
    confirmed: bool


class TrackedFaces(NamedTuple):
    """The faces of one frame.

    Attributes:
        visible: Those that can be seen, largest first.
        hidden: Boxes that should contain the tracked faces that cannot be seen.
        removed: Numbers of the faces that are no longer tracked.
        detection: The detector's result, if there was a new one.
        restarted: All faces were dropped: after a pause, or for a new image size.
    """

    visible: list[TrackedFace]
    hidden: tuple[Box, ...]
    removed: list[int]
    detection: DetectionResult | None = None
    restarted: bool = False


class FaceTracker:
    """Tracks the faces of a video or camera, one frame after the other.

    The detector runs on every n-th frame, on every frame of a slow camera, and at once
    when a new face is not confirmed yet or a tracked one was lost. In between faces are
    tracked by template matching.

    Without ``wait_for_detector`` a frame waits for the detector only if that should be
    done well before the next frame. Otherwise the detector works on one frame in a
    thread of its own, and its result is applied to a later frame.
    """

    def __init__(
        self,
        detector: FaceDetector,
        *,
        detect_every: int = DETECT_EVERY,
        wait_for_detector: bool = True,
        track_ids: Iterator[int] | None = None,
    ) -> None:
        """Starts with no faces.

        Args:
            detector: Finds the faces.
            detect_every: Frames from one run of the detector to the next.
            wait_for_detector: Every frame waits for the detector. Close the tracker
                afterwards where they do not.
            track_ids: Numbers for its faces; None for 1, 2, 3 and so on.
        """
        self._detector = detector
        whole_frames = detector.name == "none"  # these cost nothing
        self._detect_every = 1 if whole_frames else detect_every
        wait = wait_for_detector or whole_frames
        self._background = None if wait else BackgroundDetector(detector)
        self._tracker = Tracker(track_ids)
        self._frames_since_detection = self._detect_every
        self._lost_face = False  # since the detector last ran
        self._detector_s = 0.0  # duration of its last run
        self._image_size: tuple[int, ...] = ()
        # The frame before, only with a background detector:
        self._previous_image: Image | None = None
        self._previous_boxes: dict[int, RawBox] = {}

    def close(self) -> None:
        """Ends the detector's thread, if there is one, within half a second."""
        if self._background is not None:
            self._background.close()

    def update(self, image: Image, timestamp_s: float) -> TrackedFaces:
        """Returns the faces of the next frame.

        Args:
            image: uint8 (H, W, 3) BGR or (H, W) grey, 0..255.
            timestamp_s: The frame's time in its source, in seconds.
        """
        removed, restarted = self._predict(image, timestamp_s)
        for track in self._tracker.tracks:
            if track.visible and not track.whole:
                self._follow(track, image)
        detection = self._detect(image)
        removed += self._tracker.remove_lost()
        if self._background is not None:
            self._previous_image, self._previous_boxes = image, self._visible_boxes()
        tracks = self._tracker.tracks
        return TrackedFaces(
            visible=visible_faces(tracks, image),
            hidden=hidden_regions(tracks, timestamp_s, image),
            removed=[track.id for track in removed],
            detection=detection,
            restarted=restarted,
        )

    def _predict(self, image: Image, timestamp_s: float) -> tuple[list[Track], bool]:
        """Moves the faces to where they should be now.

        Returns:
            The faces that were dropped, and whether all were: the detector is then to
            run at once.
        """
        resized = image.shape[:2] != self._image_size  # as a stream that came back
        self._image_size = image.shape[:2]
        removed = self._tracker.remove_all() if resized else []
        after_pause = self._tracker.predict(timestamp_s)
        restarted = resized or after_pause is not None
        if restarted:
            self._frames_since_detection = self._detect_every
            if self._background is not None:
                self._background.discard()
        return removed + (after_pause or []), restarted

    def _follow(self, track: Track, image: Image) -> None:
        """Finds a visible face by template matching, or marks it as lost.

        A lost face is hidden where the frame waits for the detector, which says at once
        whether it is there. Otherwise it coasts until there is a result: it is taken to
        be where it looks as in the frame before, or else where its speed brought it.
        """
        box = find_patch(image, track.patch, track.box) if track.patch else None
        if box is not None:
            self._tracker.correct(track, box)
            return
        self._lost_face = True
        if self._background is None:
            track.visible = False
            return
        patch, previous = None, self._previous_boxes.get(track.id)
        if previous is not None and self._previous_image is not None:
            patch = extract_patch(self._previous_image, previous)
        box = find_patch(image, patch, track.box) if patch else None
        if box is not None:
            self._tracker.correct(track, box)
            track.box = box  # smoothed, it would fall behind more with each frame
        track.coasting = True

    def _detect(self, image: Image) -> DetectionResult | None:
        """Returns the detector's result if there is a new one, applied to the faces."""
        self._frames_since_detection += 1
        if self._background is not None:
            fast = self._detector_s < BLOCKING_SHARE * self._tracker.frame_interval_s
            if not (fast and self._background.idle):
                return self._detect_in_background(image, self._background)
        if not self._detection_due:
            return None
        self._frames_since_detection, self._lost_face = 0, False
        detection = run_detector(image, self._detector, self._visible_boxes())
        self._detector_s = detection.elapsed_s
        for track in self._apply(image, detection.faces):
            track.patch = None if track.whole else extract_patch(image, track.box)
        return detection

    def _detect_in_background(
        self, image: Image, background: BackgroundDetector
    ) -> DetectionResult | None:
        """Applies the result of an earlier frame if it is there; submits this one."""
        replay = background.result()
        if replay is not None:
            self._detector_s = replay.detection.elapsed_s
            found = fast_forward(replay, image, self._tracker.tracks)
            tracks = self._apply(
                image,
                [each.face for each in found],
                [each.track_id for each in found],
            )
            for track, replayed in zip(tracks, found, strict=True):
                track.patch = replayed.patch
        if not background.idle:
            background.add_frame(image)
        elif self._detection_due:
            self._frames_since_detection, self._lost_face = 0, False
            background.submit(image, self._visible_boxes())
        return replay.detection if replay else None

    def _visible_boxes(self) -> dict[int, RawBox]:
        """Returns the box of each visible face by its track's number."""
        return {track.id: track.box for track in self._tracker.tracks if track.visible}

    @property
    def _detection_due(self) -> bool:
        """Whether the detector is to run again."""
        unconfirmed = any(not track.confirmed for track in self._tracker.tracks)
        due = self._frames_since_detection >= self._detect_every
        slow = self._tracker.frame_interval_s > MAX_FOLLOWED_S
        return due or slow or unconfirmed or self._lost_face

    def _apply(
        self,
        image: Image,
        faces: Sequence[Face],
        track_ids: Sequence[int | None] = (),
    ) -> list[Track]:
        """Updates the tracks with detected faces; returns the track of each face."""
        matched_before = [
            track
            for track in self._tracker.tracks
            if track.visible and not track.coasting
        ]
        detected = self._tracker.update(
            faces,
            track_ids,
            lambda track, face: (
                track.patch is not None
                and looks_alike(image, track.patch, face.box_xywh)
            ),
        )
        for track in matched_before:  # missed by the detector, but plainly there
            duplicate = any(same_face(track.box, other.box) for other in detected)
            track.visible = track.visible or not duplicate
        return detected


def hidden_regions(
    tracks: Sequence[Track], now_s: float, image: Image
) -> tuple[Box, ...]:
    """Returns boxes that should contain the tracked faces that cannot be seen.

    Args:
        tracks: The tracked faces.
        now_s: The frame's time in its source, in seconds.
        image: uint8 (H, W, 3) BGR or (H, W) grey.
    """
    frame_wh = (image.shape[1], image.shape[0])
    boxes = []
    for track in tracks:
        if track.visible:
            continue
        x, y, width, height = track.box
        hidden_s = max(0.0, now_s - track.detected_s)
        reach = REACH_SIDES_PER_S * hidden_s * max(width, height)
        grown = (x - reach, y - reach, width + 2 * reach, height + 2 * reach)
        box = clip_box(grown, frame_wh)
        if box is not None:
            boxes.append(box)
    return tuple(boxes)


def visible_faces(tracks: Sequence[Track], image: Image) -> list[TrackedFace]:
    """Returns the tracked faces that can be seen in an image, largest first.

    Args:
        tracks: The tracked faces.
        image: uint8 (H, W, 3) BGR or (H, W) grey.
    """
    frame_wh = (image.shape[1], image.shape[0])
    faces = []
    for track in tracks:
        box = clip_box(track.box, frame_wh) if track.visible else None
        if box is not None:
            face = Face(box, track.score, track.whole)
            faces.append(TrackedFace(face, track.id, track.confirmed))
    faces.sort(key=lambda each: -each.face.box_xywh[2] * each.face.box_xywh[3])
    return faces
