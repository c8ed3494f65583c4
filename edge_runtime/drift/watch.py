"""Compares what a camera shows, and what a model answers, with a reference."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from edge_runtime.drift.quantities import Answers, Reading, UsualRange
from edge_runtime.errors import MetadataError
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.model_file.reference import (
    EDGES,
    USUAL,
    Reference,
    brightness,
    grey_input,
    read_reference,
    sharpness,
)
from edge_runtime.preprocessing import (
    Image,
    resize_upright,
    square_crop,
    to_model_input,
    upright,
)
from edge_runtime.results import Drift, FaceResult, FrameResult
from edge_runtime.sources import Frame

logger = logging.getLogger(__name__)

EVERY = 8  # frames
ANSWER_EVERY_S = 1.0
FRAME_WIDTH_PX = 160  # of the frames that are measured
LEAST_IMAGES = 100  # a range of fewer validation images says little
TEXTS = {
    ("frame_brightness", "lower"): "the picture is much darker than at first",
    ("frame_brightness", "higher"): "the picture is much brighter than at first",
    ("frame_sharpness", "lower"): "the picture has far less detail than at first"
    " (covered, dirty or out of focus?)",
    ("input_brightness", "lower"): "what is classified is darker than {usual}",
    ("input_brightness", "higher"): "what is classified is brighter than {usual}",
    ("input_sharpness", "lower"): "what is classified is less sharp than {usual}",
    ("input_sharpness", "higher"): "what is classified is sharper, or noisier, than"
    " {usual}",
    ("face_size", "lower"): "faces are much smaller than at first",
    ("face_size", "higher"): "faces are much larger than at first",
    ("confidence", None): "the model is more or less sure than in the first hour",
    ("labels", None): "labels come at other rates than in the first hour",
}


class DriftWatch:
    """Compares sampled frames, and the largest face in each, with references.

    Frames and face sizes with the first ones of this run; what is classified with the
    model's validation images, as its file describes them; answers with those of the
    first hour: one cheerful person all day is not drift.
    """

    def __init__(self, classifier: Any, *, detects: bool) -> None:
        """Has seen nothing.

        Args:
            classifier: A ``Classifier``, or an object with its ``spec``; where it gets
                another model, what is classified and answered begins anew.
            detects: There is a face detector: faces have sizes and margins.
        """
        self._classifier, self._detects = classifier, detects
        self._count = 0
        self._told: tuple[str, ...] = ()  # the names of what drifts
        # What frames and faces show does not depend on the model.
        self._of_frames = (
            UsualRange("frame_brightness"),
            UsualRange("frame_sharpness", lower_only=True),
        )
        self._of_faces = (UsualRange("face_size"),) if detects else ()
        self._another_model = False  # since the last comparison
        self._start(classifier.spec)

    def follow(
        self, results: Iterable[tuple[Frame, FrameResult]]
    ) -> Iterator[tuple[Frame, FrameResult]]:
        """Yields frames and their results, with the changes of the drift."""
        for frame, result in results:
            yield frame, self.update(frame, result)

    def update(self, frame: Frame, result: FrameResult) -> FrameResult:
        """Returns the result of the next frame, with a change of the drift if any."""
        spec = self._classifier.spec
        if spec is not self._spec:
            self._start(spec)
            self._another_model = True
        self._count += 1
        if self._count % EVERY:
            return result
        self._measure_frame(frame.image)
        if result.faces:
            self._measure_input(frame.image, result.faces[0])
            self._count_answer(result)
        drifting = tuple(each for each in self.readings if each.drifting)
        names = tuple(each.name for each in drifting)
        another_model, self._another_model = self._another_model, False
        if names == self._told:
            return result
        self._told = names
        texts = tuple(self._text(each) for each in drifting)
        if texts:
            logger.warning("drift: %s", "; ".join(texts))
        elif another_model:
            logger.warning("drift: another model, whose inputs are compared anew")
        else:
            logger.warning("drift has ended: all is as before again")
        return replace(result, drift=Drift(result.timestamp_s, names, texts))

    @property
    def readings(self) -> tuple[Reading, ...]:
        """What is known about each quantity."""
        return tuple(each.reading for each in (*self._ranges.values(), *self._answers))

    def document(self) -> dict[str, Any]:
        """Returns the state, JSON-ready."""
        readings = self.readings
        drifting = [each for each in readings if each.drifting]
        learning = all(each.psi is None for each in readings)
        return {
            "state": "drift" if drifting else "learning" if learning else "steady",
            "reasons": [self._text(each) for each in drifting],
            "validation_images": self._reference.images if self._reference else None,
            "quantities": [each.document() for each in readings],
        }

    def _start(self, spec: ModelSpec) -> None:
        """Begins anew with a model, where it is about the model."""
        self._spec = spec
        self._next_answer_s = 0.0
        self._reference = _reference_of(spec)
        self._ranges = {
            each.name: each
            for each in (
                *self._of_frames,
                self._input("brightness"),
                self._input("sharpness"),
                *self._of_faces,
            )
        }
        self._answers = (
            Answers("confidence", len(EDGES["confidence"]) - 1),
            Answers("labels", len(spec.labels)),
        )

    def _input(self, name: str) -> UsualRange:
        reference = self._reference
        if reference is None:
            return UsualRange(f"input_{name}")
        low, high = reference.quantiles(name, *USUAL)
        return UsualRange(f"input_{name}", ends=(low, high))

    def _measure_frame(self, image: Image) -> None:
        grey = shrunk_grey(image)
        self._ranges["frame_brightness"].add(brightness(grey))
        self._ranges["frame_sharpness"].add(sharpness(grey))

    def _measure_input(self, image: Image, face: FaceResult) -> None:
        x, y, width, height = face.box_xywh
        if self._detects:
            margin = self._spec.crop_margin_frac
            crop = square_crop(image, face.box_xywh, margin_frac=margin)
            self._ranges["face_size"].add(max(width, height) / image.shape[0])
        else:
            crop = image[y : y + height, x : x + width]
        # Not what the classifier prepares: a model on trial counts those as faces.
        spec = self._spec
        shown = to_model_input(upright(crop), spec.size_px, spec.colour, spec.fit)
        grey = grey_input(shown)
        self._ranges["input_brightness"].add(brightness(grey))
        self._ranges["input_sharpness"].add(sharpness(grey))

    def _count_answer(self, result: FrameResult) -> None:
        if result.timestamp_s < self._next_answer_s:
            return
        self._next_answer_s = result.timestamp_s + ANSWER_EVERY_S
        face = result.faces[0]
        if face.label in self._spec.labels:
            confidence, labels = self._answers
            last = len(EDGES["confidence"]) - 2
            confidence.add(min(last, int(face.confidence * (last + 1))))
            labels.add(self._spec.labels.index(face.label))

    def _text(self, reading: Reading) -> str:
        usual = "the model's validation images"
        if reading.against == "first frames":
            usual = "at first"
        return TEXTS[reading.name, reading.direction].format(usual=usual)


def _reference_of(spec: ModelSpec) -> Reference | None:
    """Returns a model's histograms; None, and a line of the log, without any."""
    try:
        reference = read_reference(spec.reference, len(spec.labels))
    except MetadataError as error:
        logger.warning("drift: %s; compared with this run's first frames alone", error)
        return None
    if reference is not None and reference.images >= LEAST_IMAGES:
        return reference
    logger.info(
        "drift: the model file has no histograms of at least %d validation images:"
        " what is classified is compared with this run's first frames alone",
        LEAST_IMAGES,
    )
    return None


def shrunk_grey(image: Image) -> Image:
    """Returns a frame in grey, at most ``FRAME_WIDTH_PX`` wide.

    Only a few pixels of large frames are read: detail is measured, not shown.

    Args:
        image: uint8 (H, W, 3) BGR or (H, W) grey.
    """
    height, width = image.shape[:2]
    if width > FRAME_WIDTH_PX:
        size_wh = (FRAME_WIDTH_PX, max(1, round(FRAME_WIDTH_PX * height / width)))
        image = resize_upright(image, size_wh, cv2.resize)
    if image.ndim == 3:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    return image
