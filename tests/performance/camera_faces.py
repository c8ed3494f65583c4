"""``python -m tests.performance.camera_faces``: how good are models behind a camera?

Labelled faces are pasted into frames, which get the defects of a camera and go the way
of ``run``: found, cropped, classified. Each frame is answered alone: nothing is tracked
and averaged. The models may have different labels; what counts is the label's name.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.accuracy.measure import load_images
from benchmarks.common.documents import (
    check_writable,
    machine_card,
    model_record,
    now,
    save_result,
)
from edge_runtime import Classifier
from edge_runtime.detection.base import DETECT_WIDTH_PX
from edge_runtime.detection.factory import open_detector, yunet_file
from edge_runtime.inference.classifier import model_path
from edge_runtime.pipeline.decisions import DecisionConfig
from edge_runtime.preprocessing import Image, square_crop
from edge_runtime.utils import flags
from edge_runtime.utils.argparser import CommandLine, exit_code_of
from tests.performance.level import FACE_PX, FRAME_WH, share, tilted_frame
from train.data.vote_labels import VoteSource
from train.metrics import expected_calibration_error

SCHEMA = "fer-edge/camera-faces/1"
Box = tuple[int, int, int, int]
UNCERTAIN_BELOW = DecisionConfig().uncertain_below
EVERY = 20  # images between two lines of progress
EXAMPLES = """\
examples:
  python -m tests.performance.camera_faces ferplus ferplus_small fer2013 \\
      --data fer2013.zip --labels-from ferplus_votes.csv --json camera_faces.json
"""


class Condition(NamedTuple):
    """How a camera sees a face.

    Attributes:
        name: For the table.
        face_px: Side of the pasted image in the frame of 640x480.
        tilt_deg: Half of the frames are turned by it, half by its negative.
        blur_px: Standard deviation, in pixels of an image 48 wide.
        light: Factor of all values.
        noise: Standard deviation of what is added to each pixel's three values.
        jpeg: Quality from 0 to 100; 0 for none.
    """

    name: str
    face_px: int = FACE_PX
    tilt_deg: float = 0
    blur_px: float = 0
    light: float = 1
    noise: float = 0
    jpeg: int = 0


CONDITIONS = (
    Condition("as they are"),
    Condition("15 degrees", tilt_deg=15),
    Condition("30 degrees", tilt_deg=30),
    Condition("blurred", blur_px=1),
    Condition("much blurred", blur_px=2),
    Condition("dark", light=0.3),
    Condition("very dark, noise", light=0.12, noise=6),
    Condition("noise", noise=25),
    Condition("JPEG 15", jpeg=15),
    Condition("64 pixels", face_px=64),
    Condition("40 pixels", face_px=40),
    Condition("32 pixels", face_px=32),
    Condition("24 pixels", face_px=24),
    Condition("evening", 100, 8, 0.7, 0.3, 8, 40),
)
# Of run, with --detect-width; "none": the face's place is known.
DETECTORS = (
    ("yunet", DETECT_WIDTH_PX),
    ("yunet", FRAME_WH[0]),
    ("haar", DETECT_WIDTH_PX),
    ("none", 0),
)
SAME_LABEL = {"angry": "anger", "happy": "happiness", "sad": "sadness"}


def camera_frame(
    face: Image, condition: Condition, sign: int, rng: np.random.Generator
) -> Image:
    """Returns what a camera sees of a face.

    Args:
        face: uint8 (S, S, 1) grey.
        condition: Size, tilt and defects.
        sign: 1 for a tilt clockwise, else -1.
        rng: Draws the noise.

    Returns:
        uint8 (480, 640, 3) BGR.
    """
    frame: Any = tilted_frame(face, sign * condition.tilt_deg, condition.face_px)
    if condition.blur_px:
        frame = cv2.GaussianBlur(
            frame, (0, 0), condition.blur_px * condition.face_px / 48
        )
    if condition.light != 1 or condition.noise:
        values = frame * np.float32(condition.light)
        values += condition.noise * rng.standard_normal(frame.shape, np.float32)
        frame = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    if condition.jpeg:
        quality = [cv2.IMWRITE_JPEG_QUALITY, condition.jpeg]
        coded = cv2.imencode(".jpg", frame, quality)[1]
        frame = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    return np.asarray(frame, np.uint8)


def place_of(frame: Image, condition: Condition, finder: Any) -> Box | None:
    """Returns the face's box: the first that a detector finds, or the known one."""
    if finder is not None:
        faces = finder.detect(frame)
        return faces[0].box_xywh if faces else None
    side, (width, height) = condition.face_px, FRAME_WH
    return (width - side) // 2, (height - side) // 2, side, side


class Answers:
    """Of one model to the faces that one detector found."""

    def __init__(self, classifier: Classifier) -> None:
        """Begins without an answer."""
        self._classifier = classifier
        self._rows: list[npt.NDArray[np.float32]] = []
        self._labels: list[str] = []

    def add(self, frame: Image, box: Box, label: str) -> None:
        """Classifies the face in a box; ``label`` is the true one."""
        margin = self._classifier.spec.crop_margin_frac
        inputs = self._classifier.prepare(square_crop(frame, box, margin_frac=margin))
        self._rows.append(self._classifier.probabilities(inputs[np.newaxis])[0])
        self._labels.append(label)

    def figures(self) -> dict[str, Any]:
        """Returns how many answers were right, JSON-ready.

        The calibration error is of the faces whose label the model has.
        """
        if not self._rows:
            return share(np.zeros(0, bool))
        rows = np.stack(self._rows)
        names = [SAME_LABEL.get(one, one) for one in self._classifier.spec.labels]
        right = np.array([names[i] for i in rows.argmax(axis=1)]) == self._labels
        certain = rows.max(axis=1) >= UNCERTAIN_BELOW
        known = np.array([label in names for label in self._labels])
        true = [names.index(label) for label in self._labels if label in names]
        logits = np.log(np.maximum(rows[known], 1e-12)).astype(np.float64)
        return {
            **share(right),
            "certain": share(right[certain]),
            "uncertain": int((~certain).sum()),
            "confidence": round(float(rows.max(axis=1).mean()), 4),
            "expected_calibration_error": round(
                expected_calibration_error(logits, np.array(true, np.int64), 1.0), 4
            )
            if true
            else None,
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    options = _parser().parse_args(argv)
    return exit_code_of(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    check_writable([options.json], force=options.force)
    started = time.monotonic()
    files = [model_path(model) for model in options.models or [None]]
    classifiers = [Classifier.load(file) for file in files]
    votes = VoteSource(options.labels_from) if options.labels_from else None
    images = load_images(
        str(options.data),
        classifiers[:1],
        split=options.split,
        limit=options.images,
        votes=votes,
    )
    split = images.in_format_of(classifiers[0])
    names = [SAME_LABEL.get(one, one) for one in classifiers[0].spec.labels]
    labels = [names[i] for i in split.labels.tolist()]
    finders = [
        open_detector(name, yunet_file(), width_px=width) if width else None
        for name, width in DETECTORS
    ]
    rows = []
    for condition in CONDITIONS:
        rng = np.random.default_rng(7)
        answers = [[Answers(one) for one in classifiers] for _ in finders]
        found = [0] * len(finders)
        for at, (image, label) in enumerate(zip(split.images, labels, strict=True)):
            frame = camera_frame(image, condition, 1 if at % 2 else -1, rng)
            for number, finder in enumerate(finders):
                box = place_of(frame, condition, finder)
                if box is None:
                    continue
                found[number] += 1
                for one in answers[number]:
                    one.add(frame, box, label)
            if at % EVERY == 0 and sys.stderr.isatty():
                print(f"{condition.name}: {at}   ", end="\r", file=sys.stderr)
        for number, (detector, width_px) in enumerate(DETECTORS):
            row = {
                "condition": condition._asdict(),
                "detector": detector,
                "detect_width": width_px,
                "images": len(labels),
                "found": found[number],
                "models": [one.figures() for one in answers[number]],
            }
            rows.append(row)
            print(line(row, [file.name for file in files]), flush=True)
    document = {
        "schema": SCHEMA,
        "created": now(),
        "models": [model_record(one.file.name, one, 1) for one in classifiers],
        "data": images.name,
        "split": images.split,
        "frame_wh": list(FRAME_WH),
        "uncertain_below": UNCERTAIN_BELOW,
        "rows": rows,
        "seconds": round(time.monotonic() - started),
        "machine": machine_card(),
    }
    save_result(document, options.json)
    return 0


def line(row: dict[str, Any], names: Sequence[str]) -> str:
    """Returns one row as text."""
    text = (
        f"{row['condition']['name']}, {row['detector']} {row['detect_width']} px:"
        f" found {row['found']} of {row['images']}"
    )
    for name, model in zip(names, row["models"], strict=True):
        text += f"; {name} {model['accuracy']:.1%}"
        if "certain" in model:
            text += (
                f", certain {model['certain']['accuracy']:.1%} of"
                f" {row['found'] - model['uncertain']}, calibration error"
                f" {model['expected_calibration_error']}"
            )
    return text


def _parser() -> argparse.ArgumentParser:
    parser = CommandLine(
        prog="python -m tests.performance.camera_faces",
        description="Measures models on labelled faces as a camera sees them.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add(
        "models",
        nargs="*",
        metavar="MODEL",
        help="model files, the first one with all labels (the released one)",
    )
    add("--data", type=Path, required=True, metavar="PATH", help="labelled faces")
    add("--labels-from", type=Path, metavar="CSV", help="raters' votes")
    add("--split", help="of the data (test, else validation)")
    add("--images", type=flags.positive, default=1000, metavar="N", help="(1000)")
    add("--json", type=Path, metavar="FILE", help="keep the result as JSON")
    add("--force", action="store_true", help="replace an existing file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
