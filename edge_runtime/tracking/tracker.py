"""Gives each face a number that lasts, from boxes that a detector finds now and then.

Each face moves on at its last speed until it is found again: by the detector, or in
between by template matching. Place and speed come from an alpha-beta filter (Kalata
1984). Detected boxes are assigned to tracks greedily, the best pairs first, as in IOU
trackers (Bochinski et al. 2017). A handful of faces needs no more.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from edge_runtime.detection.base import Face
from edge_runtime.detection.boxes import RawBox, iou
from edge_runtime.tracking.template_matching import Patch

MIN_IOU = 0.25
# A lost face may have moved by this many of its sides at first, by more each second up
# to a maximum, and may have changed its size by this factor.
REACH_SIDES = 0.5
REACH_SIDES_PER_S = 1.0
MAX_REACH_SIDES = 1.25
# Between two frames that are further apart than this a face may also have turned round,
# or begun to walk: nobody has seen it. A person who walks by a camera has this speed.
# So far away it may as well be somebody else: it has to look like the lost face.
UNSEEN_AFTER_S, MAX_UNSEEN_S = 0.1, 1.0
UNSEEN_SIDES_PER_S = 4.0
SIZE_FACTOR = 1.8
LOST_AFTER_S = 1.0
LOST_AFTER_MISSES = 2
PAUSE_INTERVALS = 2  # a pause is this much longer than the frame interval before it
CONFIRMED_HITS = 2
PLACE_GAIN = 0.8  # part of a place error that is corrected at once; of a jump all
SPEED_GAIN = 0.3
# Network cameras' frames arrive in bursts and are timed by their arrival: between two
# frames of a burst a face seems to move at any speed.
MIN_SPEED_INTERVAL_S = 0.02
SIZE_GAIN = 0.5
SPEED_HALF_LIFE_S = 0.2  # of a face that is hidden or coasting
MAX_PREDICTION_S = 0.5


@dataclass
class Track:
    """A tracked face.

    Attributes:
        id: Its number, from 1; never used again.
        box: Left, top, width and height in the frame's pixels.
        score: The detector's when it last found the face.
        whole: The frame is the face.
        detected_s: Time in the source at which the detector last found it.
        velocity: Of its centre, in pixels per second.
        hits: Times the detector found it.
        misses: Times in a row that the detector did not find it.
        visible: It was found in this frame, by the detector or by template matching,
            or is ``coasting``.
        coasting: Template matching lost it, and the detector has not yet said whether
            it is there: it is shown at its predicted place.
        speed_corrected_s: Time in the source at which ``velocity`` was last corrected.
        patch: Its appearance when the detector last found it.
        found_box: Where it was last found, by the detector or by template matching.
    """

    id: int
    box: RawBox
    score: float
    whole: bool
    detected_s: float
    velocity: tuple[float, float] = (0.0, 0.0)
    hits: int = 1
    misses: int = 0
    visible: bool = True
    coasting: bool = False
    speed_corrected_s: float = 0.0
    patch: Patch | None = field(default=None, repr=False)
    found_box: RawBox = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Starts where it was found."""
        self.found_box = self.box

    @property
    def confirmed(self) -> bool:
        """Whether the detector found it more than once, or need not."""
        return self.hits >= CONFIRMED_HITS or self.whole

    def correct(self, box: RawBox, now_s: float) -> None:
        """Corrects place, size and speed.

        Args:
            box: Where the face was found, in the frame's pixels.
            now_s: The frame's time. The speed is corrected once a frame, and at most
                every ``MIN_SPEED_INTERVAL_S``.
        """
        x, y, width, height = self.box
        new_width = width + SIZE_GAIN * (box[2] - width)
        new_height = height + SIZE_GAIN * (box[3] - height)
        dx = (box[0] + box[2] / 2) - (x + width / 2)
        dy = (box[1] + box[3] / 2) - (y + height / 2)
        jumped = math.hypot(dx, dy) > REACH_SIDES * max(width, height)
        place_gain = 1.0 if jumped else PLACE_GAIN
        left = x + (width - new_width) / 2 + place_gain * dx
        top = y + (height - new_height) / 2 + place_gain * dy
        self.box = self.found_box = (left, top, new_width, new_height)
        interval_s = now_s - self.speed_corrected_s
        if interval_s >= MIN_SPEED_INTERVAL_S:
            gain = SPEED_GAIN / interval_s
            vx, vy = self.velocity
            self.velocity = (vx + gain * dx, vy + gain * dy)
            self.speed_corrected_s = now_s

    def predict(self, interval_s: float) -> None:
        """Moves the face by its speed, which fades while it is hidden or coasting."""
        x, y, width, height = self.box
        vx, vy = self.velocity
        self.box = (x + vx * interval_s, y + vy * interval_s, width, height)
        if self.coasting or not self.visible:
            fade = 0.5 ** (interval_s / SPEED_HALF_LIFE_S)
            self.velocity = (vx * fade, vy * fade)


class Tracker:
    """Assigns detected faces to tracks.

    Attributes:
        tracks: The tracked faces.
        frame_interval_s: Time from the previous frame to this one; infinity for the
            first.
    """

    def __init__(self, track_ids: Iterator[int] | None = None) -> None:
        """Starts with no faces, whose numbers are given, or 1, 2, 3 and so on."""
        self.tracks: list[Track] = []
        self._ids = track_ids or itertools.count(1)
        self._now_s = -math.inf
        self.frame_interval_s = math.inf

    def predict(self, timestamp_s: float) -> list[Track] | None:
        """Moves every face to where it should be in the next frame.

        Args:
            timestamp_s: The frame's time in its source.

        Returns:
            The faces that were dropped because no frame came for too long; None where
            there was no such pause.
        """
        previous_s = self.frame_interval_s
        self.frame_interval_s = max(0.0, timestamp_s - self._now_s)
        self._now_s = timestamp_s
        # No pause where frames always come that slowly.
        if self.frame_interval_s > max(LOST_AFTER_S, PAUSE_INTERVALS * previous_s):
            return self.remove_all()
        for track in self.tracks:
            track.predict(min(self.frame_interval_s, MAX_PREDICTION_S))
        return None

    def correct(self, track: Track, box: RawBox) -> None:
        """Moves a face to where template matching found it."""
        track.correct(box, self._now_s)
        track.visible, track.coasting = True, False

    def update(
        self,
        faces: Sequence[Face],
        track_ids: Sequence[int | None] = (),
        looks_alike: Callable[[Track, Face], bool] = lambda track, face: False,
    ) -> list[Track]:
        """Updates the tracks with the detector's faces.

        Args:
            faces: At their places in this frame.
            track_ids: Number of each face's track, None where it is not known; empty
                if none is.
            looks_alike: Returns whether a face looks like that of a track.

        Returns:
            The track of each face, a new one if need be. The other tracks count a miss
            and are hidden until they are found again.
        """
        pairs = self._pairs(faces, track_ids, looks_alike)
        for track in self.tracks:
            track.misses += 1
            track.visible = track.coasting = False
        for index, track in pairs.items():
            self._hit(track, faces[index])
        for index, face in enumerate(faces):
            if index not in pairs:
                pairs[index] = self._new_track(face)
                self.tracks.append(pairs[index])
        return [pairs[index] for index in range(len(faces))]

    def remove_lost(self) -> list[Track]:
        """Removes the faces that were not found for too long, and returns them."""
        lost = [track for track in self.tracks if self._is_lost(track)]
        self.tracks = [track for track in self.tracks if track not in lost]
        return lost

    def remove_all(self) -> list[Track]:
        """Removes every face, as when the image size changes, and returns them."""
        removed, self.tracks = self.tracks, []
        return removed

    def _is_lost(self, track: Track) -> bool:
        if not track.confirmed:
            return track.misses > 0
        undetected_s = self._now_s - track.detected_s
        return track.misses >= LOST_AFTER_MISSES and undetected_s > LOST_AFTER_S

    def _new_track(self, face: Face) -> Track:
        x, y, width, height = face.box_xywh
        return Track(
            next(self._ids),
            (float(x), float(y), float(width), float(height)),
            face.score,
            face.whole,
            detected_s=self._now_s,
            speed_corrected_s=self._now_s,
        )

    def _hit(self, track: Track, face: Face) -> None:
        track.correct(face.box_xywh, self._now_s)
        track.score, track.whole = face.score, face.whole
        track.hits, track.misses = track.hits + 1, 0
        track.visible, track.detected_s = True, self._now_s

    def _pairs(
        self,
        faces: Sequence[Face],
        track_ids: Sequence[int | None],
        looks_alike: Callable[[Track, Face], bool],
    ) -> dict[int, Track]:
        """Returns the track of each face that has one, by the face's index."""
        tracks_by_id = {track.id: track for track in self.tracks}
        pairs = {
            index: tracks_by_id[track_id]
            for index, track_id in enumerate(track_ids)
            if track_id is not None and track_id in tracks_by_id
        }
        self._add_best(pairs, faces, lambda track, face: matching_iou(track.box, face))
        self._add_best(pairs, faces, self._nearness)
        if self._unseen_sides:
            self._add_best(
                pairs,
                faces,
                lambda track, face: (
                    self._nearness(track, face, self._unseen_sides)
                    * looks_alike(track, face)
                ),
            )
        return pairs

    def _add_best(
        self,
        pairs: dict[int, Track],
        faces: Sequence[Face],
        similarity: Callable[[Track, Face], float],
    ) -> None:
        """Adds the best pairs of the faces and tracks that have none yet."""
        paired_ids = {track.id for track in pairs.values()}
        tracks = [track for track in self.tracks if track.id not in paired_ids]
        indices = [index for index in range(len(faces)) if index not in pairs]
        best = best_pairs(
            len(indices),
            len(tracks),
            lambda first, second: similarity(tracks[second], faces[indices[first]]),
        )
        pairs |= {indices[first]: tracks[second] for first, second in best.items()}

    def _nearness(self, track: Track, face: Face, unseen_sides: float = 0.0) -> float:
        """Returns 1 for a face at the track's place, 0 for one out of its reach.

        Its place is where it should be now, or where it was found last; its reach is
        longer by as many sides as it may have walked unseen.
        """
        _, _, width, height = track.box
        _, _, face_width, face_height = face.box_xywh
        side = max(width, height)
        if not 1 / SIZE_FACTOR <= max(face_width, face_height) / side <= SIZE_FACTOR:
            return 0.0
        distance = min(
            centre_distance(face.box_xywh, box) for box in (track.box, track.found_box)
        )
        undetected_s = self._now_s - track.detected_s
        reach_sides = REACH_SIDES + REACH_SIDES_PER_S * undetected_s
        reach_sides = min(reach_sides, MAX_REACH_SIDES) + unseen_sides
        return max(0.0, 1 - distance / (reach_sides * side))

    @property
    def _unseen_sides(self) -> float:
        """How far a face may have walked since the frame before, in its sides."""
        unseen_s = min(self.frame_interval_s, MAX_UNSEEN_S) - UNSEEN_AFTER_S
        return UNSEEN_SIDES_PER_S * max(0.0, unseen_s)


def centre_distance(first: RawBox, second: RawBox) -> float:
    """Returns the distance between the centres of two boxes in pixels."""
    return math.hypot(
        first[0] + first[2] / 2 - second[0] - second[2] / 2,
        first[1] + first[3] / 2 - second[1] - second[3] / 2,
    )


def matching_iou(track_box: RawBox, face: Face) -> float:
    """Returns the IoU of a track's box and a face, 0 where it is below ``MIN_IOU``."""
    overlap = iou(track_box, face.box_xywh)
    return overlap if overlap >= MIN_IOU else 0.0


def best_pairs(
    first_count: int, second_count: int, similarity: Callable[[int, int], float]
) -> dict[int, int]:
    """Returns pairs of indices into two sets, chosen greedily, each index used once.

    Args:
        first_count: Size of the first set.
        second_count: Size of the second set.
        similarity: Returns how good the pair of two indices is; 0 for an impossible
            one.
    """
    candidates = [
        (-value, first, second)
        for first in range(first_count)
        for second in range(second_count)
        if (value := similarity(first, second)) > 0
    ]
    pairs: dict[int, int] = {}
    for _, first, second in sorted(candidates):
        if first not in pairs and second not in pairs.values():
            pairs[first] = second
    return pairs
