"""Frames as outputs show them: blurred where asked for, and drawn once for all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2

from edge_runtime.errors import OutputError
from edge_runtime.outputs import annotate
from edge_runtime.outputs.blur import RecentBoxes, blur
from edge_runtime.preprocessing import Image
from edge_runtime.results import Box, FrameResult
from edge_runtime.sources import Frame


@dataclass(frozen=True, eq=False)
class RenderedFrame:
    """A frame with what is needed to show it.

    Attributes:
        frame: As it came from the source. Outputs use ``image`` instead.
        result: The faces in it.
        blurred_boxes: Boxes to blur; None if privacy was not asked for.
    """

    frame: Frame
    result: FrameResult
    blurred_boxes: tuple[Box, ...] | None

    @property
    def image(self) -> Image:
        """The frame without drawings, uint8, blurred where asked for."""
        if self.blurred_boxes is None:
            return self.frame.image
        return blur(self.frame.image, self.blurred_boxes)


FrameSink = Callable[[RenderedFrame], bool]  # returns False to end the run


class FrameRenderer:
    """Makes a ``RenderedFrame`` of every result, and draws those that are shown."""

    def __init__(
        self,
        *,
        privacy: bool,
        sequence: bool,
        fps: Callable[[], float | None] = lambda: None,
    ) -> None:
        """Sets what all frames have in common.

        Args:
            privacy: Blur faces.
            sequence: The frames follow each other in time: write the frame rate into
                the corner, and blur where faces were in the frames just before. Else
                each stands alone.
            fps: Returns the frame rate of the run.
        """
        self._privacy, self._sequence, self._fps = privacy, sequence, fps
        self._recent_boxes = RecentBoxes()
        self._lock = threading.Lock()
        self._drawn: tuple[RenderedFrame, Image] | None = None

    def prepare(self, frame: Frame, result: FrameResult) -> RenderedFrame:
        """Returns a frame with the boxes to blur; cheap: called for every frame."""
        if not self._privacy:
            return RenderedFrame(frame, result, None)
        boxes = tuple(face.box_xywh for face in result.faces)
        if self._sequence:
            boxes = self._recent_boxes.add(result)
        return RenderedFrame(frame, result, boxes)

    def draw(self, rendered: RenderedFrame) -> Image:
        """Returns the frame with boxes and labels, uint8 (H, W, 3) BGR; do not change.

        Small frames are enlarged.
        """
        with self._lock:
            if self._drawn is None or self._drawn[0] is not rendered:
                image, faces = annotate.enlarge(rendered.image, rendered.result.faces)
                image = annotate.draw(image, faces, text=self._text(rendered.result))
                self._drawn = rendered, image
            return self._drawn[1]

    def _text(self, result: FrameResult) -> str:
        busy_ms = result.detect_ms + result.track_ms + result.classify_ms
        text = f"{busy_ms:.1f} ms"
        return f"{self._fps() or 0.0:.1f} fps   {text}" if self._sequence else text


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
