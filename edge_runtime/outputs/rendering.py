"""Frames as outputs show them: blurred where asked for, and drawn once for all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2

from edge_runtime.errors import OutputError
from edge_runtime.outputs import annotate
from edge_runtime.outputs.blur import RecentBoxes, blur, blur_outside
from edge_runtime.preprocessing import Image, upright
from edge_runtime.results import Box, FrameResult
from edge_runtime.sources import Frame

if TYPE_CHECKING:
    from edge_runtime.sources.region import Region


@dataclass(frozen=True, eq=False)
class RenderedFrame:
    """A frame with what is needed to show it.

    Attributes:
        frame: As it came from the source. Outputs use ``image`` instead.
        result: The faces in it.
        blurred_boxes: Boxes to blur; None if privacy was not asked for.
        regions: Names and boxes of the only parts that are looked at; None: the whole
            frame. Where faces are blurred, so is all that is outside.
    """

    frame: Frame
    result: FrameResult
    blurred_boxes: tuple[Box, ...] | None
    regions: tuple[tuple[str | None, Box], ...] | None = None

    @property
    def image(self) -> Image:
        """The frame without drawings, uint8, blurred where asked for."""
        image = upright(self.frame.image)
        if self.blurred_boxes is None:
            return image
        if self.regions is not None:
            image = blur_outside(image, (box for _, box in self.regions))
        return blur(image, self.blurred_boxes)


FrameSink = Callable[[RenderedFrame], bool]  # returns False to end the run


class FrameRenderer:
    """Makes a ``RenderedFrame`` of every result, and draws those that are shown."""

    def __init__(
        self,
        *,
        privacy: bool,
        sequence: bool,
        fps: Callable[[], float | None] = lambda: None,
        regions: Sequence[Region] = (),
    ) -> None:
        """Sets what all frames have in common.

        Args:
            privacy: Blur faces.
            sequence: The frames follow each other in time: write the frame rate into
                the corner, and blur where faces were in the frames just before. Else
                each stands alone.
            fps: Returns the frame rate of the run.
            regions: The only parts of the frames that are looked at.
        """
        self._privacy, self._sequence, self._fps = privacy, sequence, fps
        self._recent_boxes, self._regions = RecentBoxes(), regions
        self._lock = threading.Lock()
        self._drawn: tuple[RenderedFrame, Image] | None = None

    def prepare(self, frame: Frame, result: FrameResult) -> RenderedFrame:
        """Returns a frame with the boxes to blur; cheap: called for every frame."""
        # Empty where none lies in this frame: then nothing of it is looked at.
        regions = tuple(boxes_of(self._regions, frame.image)) if self._regions else None
        if not self._privacy:
            return RenderedFrame(frame, result, None, regions)
        boxes = tuple(face.box_xywh for face in result.faces)
        if self._sequence:
            boxes = self._recent_boxes.add(result)
        return RenderedFrame(frame, result, boxes, regions)

    def draw(self, rendered: RenderedFrame) -> Image:
        """Returns the frame with boxes and labels, uint8 (H, W, 3) BGR; do not change.

        Small frames are enlarged.
        """
        with self._lock:
            if self._drawn is None or self._drawn[0] is not rendered:
                image = rendered.image
                if rendered.regions is not None:
                    image = annotate.draw_regions(image, rendered.regions)
                image, faces = annotate.enlarge(image, rendered.result.faces)
                image = annotate.draw(image, faces, text=self._text(rendered.result))
                self._drawn = rendered, image
            return self._drawn[1]

    def _text(self, result: FrameResult) -> str:
        busy_ms = result.detect_ms + result.track_ms + result.classify_ms
        text = f"{busy_ms:.1f} ms"
        return f"{self._fps() or 0.0:.1f} fps   {text}" if self._sequence else text


def boxes_of(
    regions: Sequence[Region], image: Image
) -> Iterator[tuple[str | None, Box]]:
    """Yields the name and box of each region that lies in an image, in part at least.

    Args:
        regions: Of the frames of a source.
        image: One of these frames, uint8 (H, W, 3) or (H, W).
    """
    for region in regions:
        box = region.box((image.shape[1], image.shape[0]))
        if box is not None:
            yield region.name, box


class FrameFanout:
    """A ``Sink`` that prepares each frame once and passes it to several outputs."""

    def __init__(self, renderer: FrameRenderer, sinks: Sequence[FrameSink]) -> None:
        self._renderer, self._sinks = renderer, sinks

    def write(self, frame: Frame, result: FrameResult) -> bool:
        """Passes one frame on; returns False if an output ends the run."""
        rendered = self._renderer.prepare(frame, result)
        return all([sink(rendered) for sink in self._sinks])


def encode_jpeg(image: Image, quality: int) -> bytes:
    """Returns a uint8 image, BGR or grey, as a JPEG file of quality 0..100.

    Raises:
        OutputError: This OpenCV cannot encode JPEG.
    """
    done, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))
    if not done:
        raise OutputError("this OpenCV cannot encode JPEG")
    return data.tobytes()
