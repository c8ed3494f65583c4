"""Which face is which: ids that last, from boxes that a detector gives now and then.

Each face moves on at its last speed until something says where it is: the detector's
box that overlaps most, or in between a likeness found near by (``following``). Plain
parts on purpose: an alpha-beta filter (Kalata 1984) for place and speed, and the best
pairs first for the assignment, as in IOU trackers (Bochinski et al. 2017). A handful of
faces needs no more.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge_runtime.detection.base import Face
from edge_runtime.detection.boxes import RawBox, iou
from edge_runtime.tracking.template_matching import Patch

LEAST_IOU = 0.25
# A face that was lost may have moved: this many of its sides at first, and more by the
# second, up to the most; its size within this factor.
REACH_SIDES = 0.5
REACH_SIDES_PER_S = 1.0
MOST_REACH_SIDES = 1.25
SIZE_FACTOR = 1.8
LOST_AFTER_S = 1.0
LOST_AFTER_MISSES = 2
OUTAGE_STEPS = 2  # a pause is an outage only where it is so much longer than the last
CONFIRMED_HITS = 2
PLACE_GAIN = 0.8  # of an error in place that is corrected at once
SPEED_GAIN = 0.3
# Network cameras' frames arrive in bursts, and their time is that of arrival: between
# two of one burst a face seems to move at any speed.
LEAST_SPEED_STEP_S = 0.02
SIZE_GAIN = 0.5
COASTING_HALF_LIFE_S = 0.2  # of the speed of a face that is out of sight
LONGEST_STEP_S = 0.5


@dataclass
class Track:
    """One face that is followed.

    Attributes:
        id: Its number, from 1; never used again.
        box: Left, top, width and height in the frame's pixels.
        score: The detector's when it last found the face.
        whole: The frame is the face.
        seen_s: Time in the source at which the detector last found it.
        velocity: Of its centre, pixels a second.
        hits: Times the detector found it.
        misses: Times in a row that the detector ran and did not find it.
        visible: It was found in this frame, by the detector or by its likeness, or is
            ``coasting``.
        coasting: It no longer looks as the detector last saw it, and that has not said
            yet whether it is there: it is shown where it should be.
        clocked_s: Time in the source at which its speed was last corrected.
        patch: What it looked like when the detector last found it.
    """

    id: int
    box: RawBox
    score: float
    whole: bool
    seen_s: float
    velocity: tuple[float, float] = (0.0, 0.0)
    hits: int = 1
    misses: int = 0
    visible: bool = True
    coasting: bool = False
    clocked_s: float = 0.0
    patch: Patch | None = field(default=None, repr=False)

    @property
    def confirmed(self) -> bool:
        """Whether the detector found it more than once, or needs not to."""
        return self.hits >= CONFIRMED_HITS or self.whole

    def move_to(self, box: RawBox, now_s: float) -> None:
        """Corrects place and speed by where it was found.

        Args:
            box: Where it was found, in the frame's pixels.
            now_s: The frame's time. The speed is corrected once a frame, and not
                sooner than ``LEAST_SPEED_STEP_S`` after the last time.
        """
        x, y, width, height = self.box
        wide = width + SIZE_GAIN * (box[2] - width)
        tall = height + SIZE_GAIN * (box[3] - height)
        across, down = (
            (box[0] + box[2] / 2) - (x + width / 2),
            (box[1] + box[3] / 2) - (y + height / 2),
        )
        left = x + (width - wide) / 2 + PLACE_GAIN * across
        top = y + (height - tall) / 2 + PLACE_GAIN * down
        self.box = (left, top, wide, tall)
        since_s = now_s - self.clocked_s
        if since_s >= LEAST_SPEED_STEP_S:
            gain = SPEED_GAIN / since_s
            vx, vy = self.velocity
            self.velocity = (vx + gain * across, vy + gain * down)
            self.clocked_s = now_s

    def advance(self, step_s: float) -> None:
        """Moves it on by its speed, which fades while it is out of sight."""
        x, y, width, height = self.box
        vx, vy = self.velocity
        self.box = (x + vx * step_s, y + vy * step_s, width, height)
        if self.coasting or not self.visible:
            fade = 0.5 ** (step_s / COASTING_HALF_LIFE_S)
            self.velocity = (vx * fade, vy * fade)


class Tracker:
    """The faces that are followed.

    Attributes:
        tracks: They.
        step_s: Time from the frame before to this one; infinity for the first.
    """

    def __init__(self) -> None:
        """Starts with none."""
        self.tracks: list[Track] = []
        self._ids = itertools.count(1)
        self._now_s = -math.inf
        self.step_s = math.inf

    def advance(self, timestamp_s: float) -> list[Track] | None:
        """Moves every face to where it should be by now.

        Args:
            timestamp_s: The new frame's time in its source.

        Returns:
            The faces that are gone because no frame came for so long; None where that
            was not so.
        """
        before_s, self.step_s = self.step_s, max(0.0, timestamp_s - self._now_s)
        self._now_s = timestamp_s
        # Not where frames come that slowly anyhow.
        if self.step_s > max(LOST_AFTER_S, OUTAGE_STEPS * before_s):
            return self.drop_all()
        for track in self.tracks:
            track.advance(min(self.step_s, LONGEST_STEP_S))
        return None

    def found(self, track: Track, box: RawBox) -> None:
        """Takes a place at which a face was found without the detector."""
        track.move_to(box, self._now_s)
        track.visible, track.coasting = True, False

    def detected(
        self, faces: Sequence[Face], known: Sequence[int | None] = ()
    ) -> list[Track]:
        """Takes what the detector found in this frame.

        Args:
            faces: Where they are now.
            known: Number of the track that each of them is, where that is known;
                nothing where it is known of none.

        Returns:
            The track of each face, new ones among them. The others count a miss and
            are invisible until something finds them.
        """
        pairs = self._pairs(faces, known)
        for track in self.tracks:
            track.misses += 1
            track.visible = track.coasting = False
        for index, track in pairs.items():
            self._hit(track, faces[index])
        for index, face in enumerate(faces):
            if index not in pairs:
                pairs[index] = self._begin(face)
                self.tracks.append(pairs[index])
        return [pairs[index] for index in range(len(faces))]

    def drop_lost(self) -> list[Track]:
        """Forgets the faces that are gone, and returns them."""
        gone = [track for track in self.tracks if self._is_gone(track)]
        self.tracks = [track for track in self.tracks if track not in gone]
        return gone

    def drop_all(self) -> list[Track]:
        """Forgets every face, as when the picture's size changes; returns them."""
        gone, self.tracks = self.tracks, []
        return gone

    def _is_gone(self, track: Track) -> bool:
        if not track.confirmed:
            return track.misses > 0
        unseen_s = self._now_s - track.seen_s
        return track.misses >= LOST_AFTER_MISSES and unseen_s > LOST_AFTER_S

    def _begin(self, face: Face) -> Track:
        x, y, width, height = face.box_xywh
        box = (float(x), float(y), float(width), float(height))
        now_s = self._now_s
        number = next(self._ids)
        return Track(number, box, face.score, face.whole, now_s, clocked_s=now_s)

    def _hit(self, track: Track, face: Face) -> None:
        x, y, width, height = face.box_xywh
        track.move_to((x, y, width, height), self._now_s)
        track.score, track.whole = face.score, face.whole
        track.hits, track.misses = track.hits + 1, 0
        track.visible, track.seen_s = True, self._now_s

    def _pairs(
        self, faces: Sequence[Face], known: Sequence[int | None]
    ) -> dict[int, Track]:
        """Returns the track of each face that has one, by the face's index."""
        of_id = {track.id: track for track in self.tracks}
        pairs = {
            index: of_id[number]
            for index, number in enumerate(known)
            if number is not None and number in of_id
        }
        for measure in (_overlap, self._nearness):
            self._add_best(pairs, faces, measure)
        return pairs

    def _add_best(
        self,
        pairs: dict[int, Track],
        faces: Sequence[Face],
        measure: Callable[[Track, Face], float],
    ) -> None:
        """Adds the best pairs of the faces and tracks that have none yet."""
        taken = {track.id for track in pairs.values()}
        free = [track for track in self.tracks if track.id not in taken]
        left = [index for index in range(len(faces)) if index not in pairs]
        best = best_pairs(
            len(left),
            len(free),
            lambda one, other: measure(free[other], faces[left[one]]),
        )
        pairs |= {left[one]: free[other] for one, other in best.items()}

    def _nearness(self, track: Track, face: Face) -> float:
        """Returns 1 for a face in the very place, 0 for one that cannot be it."""
        x, y, width, height = track.box
        left, top, wide, tall = face.box_xywh
        side, other = max(width, height), max(wide, tall)
        if not 1 / SIZE_FACTOR <= other / side <= SIZE_FACTOR:
            return 0.0
        apart = math.hypot(
            left + wide / 2 - x - width / 2, top + tall / 2 - y - height / 2
        )
        unseen_s = self._now_s - track.seen_s
        reach = min(REACH_SIDES + REACH_SIDES_PER_S * unseen_s, MOST_REACH_SIDES) * side
        return max(0.0, 1 - apart / reach)


def _overlap(track: Track, face: Face) -> float:
    """Returns the overlap of a track and a face, 0 where it is too little."""
    x, y, width, height = face.box_xywh
    overlap = iou(track.box, (x, y, width, height))
    return overlap if overlap >= LEAST_IOU else 0.0


def best_pairs(
    ones: int, others: int, measure: Callable[[int, int], float]
) -> dict[int, int]:
    """Returns pairs of two sets' indices, the best first, each used once.

    Args:
        ones: How many there are in the first set.
        others: How many there are in the second.
        measure: Of an index of each: how good the pair is; 0 for one that cannot be.
    """
    pairs = [
        (-value, one, other)
        for one in range(ones)
        for other in range(others)
        if (value := measure(one, other)) > 0
    ]
    chosen: dict[int, int] = {}
    for _, one, other in sorted(pairs):
        if one not in chosen and other not in chosen.values():
            chosen[one] = other
    return chosen
