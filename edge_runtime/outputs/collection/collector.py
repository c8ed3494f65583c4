"""Chooses, of each few seconds, the crop from which there is most to learn."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from operator import sub
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_runtime.outputs.base import CollectLimits
from edge_runtime.outputs.collection.crop_files import CROP_SCHEMA
from edge_runtime.outputs.collection.crop_folder import TakenCrop
from edge_runtime.outputs.collection.kept_crop import RANDOM
from edge_runtime.outputs.documents import face_document, utc_now
from edge_runtime.outputs.rendering import boxes_of
from edge_runtime.outputs.work_queue import QueueCapacity, WorkQueue
from edge_runtime.preprocessing import Image, square_crop
from edge_runtime.results import FaceResult, FrameResult
from edge_runtime.sources import Frame

if TYPE_CHECKING:
    from edge_runtime.model_file.metadata import ModelSpec
    from edge_runtime.sources.region import Region

COLLECT_CAPACITY = QueueCapacity(frames=4)  # crops that hold their frames in memory

LOOKS = 50  # frames of a slot whose answers are looked at, spread over it
LEAST_SCORE = 0.4  # below it the model is sure, and the scene as usual
RARE_SHARE = 0.5  # a rare class counts half of what an unsure answer does
LAST_TAKEN = 10
MOST_COUNTED = 10_000
# Room for the crops and turns of training; more would only take space.
SIDES = 2
LEAST_SIDE_PX = 224


class Doubt(NamedTuple):
    """Why there may be something to learn from an answer; each part is 0..1.

    Attributes:
        uncertain: One minus the lead of the best label over the second (margin
            sampling: Scheffer et al., "Active hidden Markov models", 2001).
        disagreement: Half the sum of differences to the average of the track's frames.
        rare: How much rarer the label is than if all were equally frequent.
    """

    uncertain: float
    disagreement: float
    rare: float

    @property
    def score(self) -> float:
        """All of them in one number, 0..1: each takes its part of what is left."""
        rest = (1 - self.uncertain) * (1 - self.disagreement)
        return 1 - rest * (1 - RARE_SHARE * self.rare)

    @property
    def reason(self) -> str:
        """The largest of them."""
        parts = {
            "uncertain": self.uncertain,
            "disagreement": self.disagreement,
            "rare": RARE_SHARE * self.rare,
        }
        return max(parts, key=lambda name: parts[name])


class LabelCounts:
    """Counts the answers so far, to know which labels are rare."""

    def __init__(self) -> None:
        """Starts with none."""
        self._counts: Counter[str] = Counter()
        self._total = 0

    def doubt(self, face: FaceResult) -> Doubt:
        """Returns what is doubtful about an answer, and counts it."""
        labels = len(face.probabilities)
        share = (self._counts[face.label] + 1) / (self._total + labels)
        self._count(face.label)
        second, best = sorted(face.probabilities.values())[-2:]
        return Doubt(1 - best + second, _difference(face), max(0.0, 1 - share * labels))

    def _count(self, label: str) -> None:
        self._counts[label] += 1
        self._total += 1
        if self._total >= MOST_COUNTED:  # what was long ago counts less and less
            self._counts = Counter(
                {label: count // 2 for label, count in self._counts.items()}
            )
            self._total = sum(self._counts.values())


def _difference(face: FaceResult) -> float:
    if face.decision is None:
        return 0.0
    # Both are in the model's order.
    answer, average = face.probabilities.values(), face.decision.probabilities.values()
    difference: float = sum(map(abs, map(sub, answer, average)))
    return min(1.0, difference / 2)


class BestCrop(NamedTuple):
    """The best crop of a slot so far.

    Attributes:
        key: What it was chosen by.
        doubt: About its answer.
        frame: Its frame.
        result: The frame's result.
        face: Which of its faces.
        utc: The time of day; None of files.
        spec: What the model that answered takes.
        model: What identifies it, JSON-ready.
    """

    key: float
    doubt: Doubt
    frame: Frame
    result: FrameResult
    face: FaceResult
    utc: str | None
    spec: ModelSpec
    model: dict[str, Any]


class Collector:
    """A ``Sink`` that takes at most one crop of each slot of some seconds.

    Usually the one with the highest score, where it is high enough; each time that its
    track had one of the last ten, the score counts half. In a share of the slots one at
    random, whatever the model says: what it is sure and wrong about is found so, and
    they show how often it is right.
    """

    def __init__(
        self,
        queue: WorkQueue[TakenCrop],
        limits: CollectLimits,
        *,
        spec: Callable[[], ModelSpec],
        model: Callable[[], dict[str, Any]],
        whole: bool,
        live: bool,
        regions: Sequence[Region] = (),
        seed: int | None = None,
    ) -> None:
        """Starts with the first frame.

        Args:
            queue: In front of the folder.
            limits: Seconds of a slot; 0: each frame is one, for pictures.
            spec: Returns what the model in use takes.
            model: Returns what identifies it, JSON-ready.
            whole: Whole frames, or regions, are classified.
            live: The crops have a time of day.
            regions: The only parts of the frames that are looked at.
            seed: Decides what is taken at random; None for another one each time.
        """
        self._queue, self._limits = queue, limits
        self._spec, self._model = spec, model
        self._whole, self._live, self._regions = whole, live, regions
        self._random = Random(seed)
        self._answers = LabelCounts()
        self._last_tracks: deque[int | None] = deque(maxlen=LAST_TAKEN)
        self._look_every_s = limits.every_s / LOOKS
        self._looked_s = -math.inf
        self._start_s: float | None = None
        self._at_random = False
        self._best: BestCrop | None = None

    def write(self, frame: Frame, result: FrameResult) -> bool:
        """Looks at the answers of one frame; returns True."""
        now_s = result.timestamp_s
        if abs(now_s - self._looked_s) < self._look_every_s:
            return True
        self._looked_s = now_s
        start_s, every_s = self._start_s, self._limits.every_s
        if start_s is None or abs(now_s - start_s) >= every_s:
            self.finish()
            self._start_s = now_s
            self._at_random = self._random.random() < self._limits.random_frac
        for face in result.faces:
            if face.classified_s in (None, now_s):  # else an earlier frame's answer
                self._consider(frame, result, face)
        return True

    def finish(self) -> None:
        """Takes the best crop so far: the slot, or the run, is over."""
        best, self._best = self._best, None
        if best is None:
            return
        self._last_tracks.append(best.face.track_id)
        image = self._crop(best.frame.image, best.face, best.spec.crop_margin_frac)
        side = max(LEAST_SIDE_PX, SIDES * best.spec.size_px)
        self._queue.put(TakenCrop(image, side, self._document(best)))

    def _consider(self, frame: Frame, result: FrameResult, face: FaceResult) -> None:
        doubt = self._answers.doubt(face)
        if self._whole:  # no track: the scene changes, and the average lags behind
            doubt = doubt._replace(disagreement=0.0)
        if self._at_random:
            key = self._random.random()
        elif (score := doubt.score) < LEAST_SCORE:
            return
        elif face.track_id is None:
            key = score
        else:
            key = score * 0.5 ** self._last_tracks.count(face.track_id)
        if self._best is None or key > self._best.key:
            # Now: when the slot ends it may be much later, and another model's turn.
            utc = utc_now() if self._live else None
            model = self._spec(), self._model()
            self._best = BestCrop(key, doubt, frame, result, face, utc, *model)

    def _crop(self, image: Image, face: FaceResult, margin_frac: float) -> Image:
        """Returns what the network was shown, before it was resized: a view."""
        x, y, width, height = face.box_xywh
        if self._whole:
            return image[y : y + height, x : x + width]
        for name, (left, top, wide, high) in boxes_of(self._regions, image):
            if name == face.region:
                image = image[top : top + high, left : left + wide]
                x, y = x - left, y - top
                break
        return square_crop(image, (x, y, width, height), margin_frac=margin_frac)

    def _document(self, best: BestCrop) -> dict[str, Any]:
        result = best.result
        return {
            "schema": CROP_SCHEMA,
            "utc": best.utc,
            "source": result.name,
            "frame": result.index,
            "time_s": round(result.timestamp_s, 4),
            "subject": result.words.subject,
            "labels_are": result.words.labels_are,
            **face_document(best.face),
            "score": round(best.doubt.score, 4),
            "reason": RANDOM if self._at_random else best.doubt.reason,
            "model": best.model,
            "review": None,
        }
