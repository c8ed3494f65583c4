"""Looks at regions of frames alone (``--roi``), each as a frame of its own."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from edge_runtime.errors import SourceError
from edge_runtime.pipeline.classification import age_ms
from edge_runtime.results import Box, FrameResult, Words
from edge_runtime.sources import Frame
from edge_runtime.sources.region import Region

if TYPE_CHECKING:
    from edge_runtime.pipeline.pipeline import Pipeline, TrackedFrame

logger = logging.getLogger(__name__)


class Cut(NamedTuple):
    """A region of a frame.

    Attributes:
        number: Of the region, from 0.
        name: The region's; None for the only one.
        box: Where it is in the frame.
        frame: It alone, a view of the frame.
    """

    number: int
    name: str | None
    box: Box
    frame: Frame


class Cutter:
    """Cuts the regions out of frames, whose size may change."""

    def __init__(self, regions: Sequence[Region]) -> None:
        """Takes the regions; has seen no frame."""
        self._regions = regions
        self._size_wh = (0, 0)  # of the last frame, before the first one nothing
        self._boxes: list[Box | None] = []  # in it
        self._warned = False

    def cut(self, frame: Frame) -> list[Cut]:
        """Returns the regions that lie inside a frame, at least in part.

        Raises:
            SourceError: One reaches beyond the first frame. Beyond later ones, of
                another size, it is one line of the log.
        """
        image, cuts = frame.image, []
        for number, box in enumerate(self._boxes_in(frame)):
            if box is not None:
                x, y, width, height = box
                part = replace(frame, image=image[y : y + height, x : x + width])
                cuts.append(Cut(number, self._regions[number].name, box, part))
        return cuts

    def _boxes_in(self, frame: Frame) -> list[Box | None]:
        size_wh = (frame.image.shape[1], frame.image.shape[0])
        if size_wh != self._size_wh:
            self._check(frame, size_wh)
            self._boxes = [region.box(size_wh) for region in self._regions]
            self._size_wh = size_wh
        return self._boxes

    def _check(self, frame: Frame, size_wh: tuple[int, int]) -> None:
        for region in self._regions:
            if region.fits(size_wh):
                continue
            message = (
                f"expected --roi inside {frame.name}, which after --rotate has"
                f" {size_wh[0]}x{size_wh[1]} pixels, got {region.text_with_name!r}"
            )
            if not self._boxes:
                raise SourceError(f"{message}: give smaller values, or percent")
            if not self._warned:
                logger.warning("%s: only the part inside is used", message)
            self._warned = True


class TrackedRegions(NamedTuple):
    """A frame whose regions were tracked."""

    frame: Frame
    parts: list[tuple[Cut, TrackedFrame]]


class RegionPipeline:
    """A ``Pipeline`` for each region; their results are those of the whole frame."""

    def __init__(
        self,
        regions: Sequence[Region],
        open_pipeline: Callable[[Iterator[int]], Pipeline],
        words: Words,
    ) -> None:
        """Opens the pipelines.

        Args:
            regions: At least one.
            open_pipeline: Returns a pipeline that takes the numbers of its faces from
                an iterator. They share nothing else that changes but the scheduler.
            words: What the model looks at.
        """
        track_ids = itertools.count(1)
        self._cutter, self._words = Cutter(regions), words
        with ExitStack() as stack:
            self._pipelines = []
            for _ in regions:
                pipeline = open_pipeline(track_ids)
                self._pipelines.append(stack.enter_context(closing(pipeline)))
            self._opened = stack.pop_all()

    def close(self) -> None:
        """Closes all pipelines, also where closing one fails."""
        self._opened.close()

    def process(self, frame: Frame) -> FrameResult:
        """Returns the result of the next frame."""
        return merge(
            frame,
            (
                (cut, self._pipelines[cut.number].process(cut.frame))
                for cut in self._cutter.cut(frame)
            ),
            self._words,
        )

    def detect_and_track(self, frame: Frame) -> TrackedRegions:
        """Returns the next frame with the faces of its regions."""
        parts = [
            (cut, self._pipelines[cut.number].detect_and_track(cut.frame))
            for cut in self._cutter.cut(frame)
        ]
        return TrackedRegions(frame, parts)

    def classify(self, tracked: TrackedRegions) -> FrameResult:
        """Returns the result of the frame that was tracked next."""
        return merge(
            tracked.frame,
            (
                (cut, self._pipelines[cut.number].classify(part))
                for cut, part in tracked.parts
            ),
            self._words,
        )


def still_regions(
    regions: Sequence[Region],
    classify: Callable[[Frame], FrameResult],
    words: Words,
) -> Callable[[Frame], FrameResult]:
    """Returns a function that classifies the regions of single images.

    Args:
        regions: At least one.
        classify: Returns the result of a frame.
        words: What the model looks at.
    """
    cutter = Cutter(regions)
    return lambda frame: merge(
        frame, ((cut, classify(cut.frame)) for cut in cutter.cut(frame)), words
    )


def merge(
    frame: Frame, results: Iterable[tuple[Cut, FrameResult]], words: Words
) -> FrameResult:
    """Returns the result of a frame from those of its regions.

    Boxes are those in the whole frame, faces and events name their region, and
    durations are added up.
    """
    faces, events, hidden, parts = [], [], [], []
    for cut, result in results:
        x, y = cut.box[:2]
        parts.append(result)
        for face in result.faces:
            box = _moved(face.box_xywh, x, y)
            faces.append(face._replace(box_xywh=box, region=cut.name))
        events += [event._replace(region=cut.name) for event in result.events]
        hidden += [_moved(box, x, y) for box in result.hidden]
    faces.sort(key=lambda face: -face.box_xywh[2] * face.box_xywh[3])
    return FrameResult(
        index=frame.index,
        timestamp_s=frame.timestamp_s,
        name=frame.name,
        faces=tuple(faces),
        detect_ms=sum(part.detect_ms for part in parts),
        classify_ms=sum(part.classify_ms for part in parts),
        track_ms=sum(part.track_ms for part in parts),
        age_ms=age_ms(frame),
        detected=any(part.detected for part in parts),
        events=tuple(sorted(events, key=lambda event: event.track_id)),
        hidden=tuple(hidden),
        words=words,
    )


def _moved(box: Box, x: int, y: int) -> Box:
    return box[0] + x, box[1] + y, box[2], box[3]
