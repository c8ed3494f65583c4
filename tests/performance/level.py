"""``python -m tests.performance.level``: are tilted faces better levelled first?

Labelled faces are pasted into frames that are then turned, and go the way of ``run``:
found, cropped, classified. Where YuNet finds one, the crop is also turned back by the
line of its eyes, if it is tilted by more than a threshold, and by the exact angle.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from benchmarks.accuracy.comparison import mcnemar_p
from benchmarks.accuracy.measure import load_images
from benchmarks.common.documents import (
    check_writable,
    machine_card,
    model_record,
    now,
    save_result,
)
from edge_runtime import Classifier
from edge_runtime.detection.boxes import canonical_box, shrink
from edge_runtime.detection.factory import open_detector, yunet_file
from edge_runtime.detection.yunet import YUNET_SCALE, YUNET_THRESHOLD
from edge_runtime.errors import FerEdgeError
from edge_runtime.inference.classifier import model_path
from edge_runtime.preprocessing import Image, square_crop
from edge_runtime.utils import flags
from edge_runtime.utils.argparser import CommandLine, exit_code_of
from train.data.vote_labels import VoteSource
from train.metrics import wilson_interval

SCHEMA = "fer-edge/level/1"
FRAME_WH = (640, 480)
FACE_PX = 200
ANGLES = (0, 15, 30, 45)
THRESHOLDS = (0, 5, 10, 15, 20)  # degrees
DETECTORS = (("yunet", 320), ("yunet", 640), ("haar", 320))  # with --detect-width
EVERY = 20  # images between two lines of progress
EXAMPLES = """\
examples:
  python -m tests.performance.level --data fer2013.zip \\
      --labels-from ferplus_votes.csv --images 600 --json level.json
"""


class Seen(NamedTuple):
    """What became of one face in one frame.

    Attributes:
        tilt_deg: Of the line of the eyes, clockwise; 0 without landmarks.
        plain: Label of the crop as it is.
        level: Label of the crop turned back.
        exact: Label of the crop turned back by the angle that the frame was turned.
    """

    tilt_deg: float
    plain: int
    level: int
    exact: int


def tilted_frame(face: Image, angle_deg: float, face_px: int = FACE_PX) -> Image:
    """Returns a frame with the face in its middle, turned clockwise.

    Args:
        face: uint8 (S, S, 1) grey.
        angle_deg: Degrees.
        face_px: Its side in the frame, an even number.

    Returns:
        uint8 (480, 640, 3) BGR; beyond the face its border goes on, blurred.
    """
    width, height = FRAME_WH
    size = (face_px, face_px)
    kind = cv2.INTER_CUBIC if face_px >= face.shape[0] else cv2.INTER_AREA
    large = cv2.resize(face[..., 0], size, interpolation=kind)
    beside, above = (width - face_px) // 2, (height - face_px) // 2
    border = cv2.BORDER_REPLICATE
    frame = cv2.copyMakeBorder(large, above, above, beside, beside, border)
    small = cv2.resize(frame, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    around = cv2.resize(cv2.GaussianBlur(small, (0, 0), 3), FRAME_WH)
    around[above:-above, beside:-beside] = large
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -angle_deg, 1)
    turned = cv2.warpAffine(around, matrix, FRAME_WH, borderMode=border)
    return np.asarray(cv2.cvtColor(turned, cv2.COLOR_GRAY2BGR), np.uint8)


def level_crop(frame: Image, box: Sequence[float], tilt_deg: float) -> Image:
    """Returns the square in a box, turned back around the box's centre.

    Args:
        frame: uint8 (H, W, 3).
        box: Left, top, width, height: a square.
        tilt_deg: Degrees that it is tilted clockwise.
    """
    x, y, side, _ = box
    px = max(1, round(side))
    matrix = cv2.getRotationMatrix2D((x + side / 2, y + side / 2), tilt_deg, 1)
    matrix[:, 2] += (px / 2 - x - side / 2, px / 2 - y - side / 2)
    crop = cv2.warpAffine(frame, matrix, (px, px), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


class Eyes:
    """YuNet with the line of the eyes."""

    def __init__(self, width_px: int) -> None:
        self._width_px = width_px
        file = yunet_file()
        if file is None:
            raise FerEdgeError("YuNet is not here: pip install 'fer-edge[yunet]'")
        self._network = cv2.FaceDetectorYN.create(
            str(file), "", (64, 64), YUNET_THRESHOLD
        )

    def find(self, frame: Image) -> tuple[tuple[float, ...], float] | None:
        """Returns the canonical box of the largest face, and its tilt in degrees."""
        small, shrunk_by = shrink(frame, self._width_px)
        self._network.setInputSize((small.shape[1], small.shape[0]))
        rows = self._network.detect(small)[1]
        if rows is None:
            return None
        row = max(rows, key=lambda one: one[2] * one[3]) / shrunk_by
        right_eye, left_eye = row[4:6], row[6:8]
        across, down = left_eye - right_eye
        box = canonical_box(tuple(map(float, row[:4])), scale=YUNET_SCALE)
        return box, math.degrees(math.atan2(down, across))


class Way:
    """From a frame to labels, through one detector."""

    def __init__(self, detector: str, width_px: int, classifier: Classifier) -> None:
        self._finder = open_detector(detector, yunet_file(), width_px=width_px)
        self._eyes = Eyes(width_px) if detector == "yunet" else None
        self._classifier = classifier

    def go(self, frame: Image, angle_deg: float) -> Seen | None:
        """Returns the labels of a frame; None where no face was found.

        Args:
            frame: uint8 (H, W, 3).
            angle_deg: By which it was turned clockwise.
        """
        faces = self._finder.detect(frame)
        if not faces:
            return None
        margin = self._classifier.spec.crop_margin_frac
        plain = square_crop(frame, faces[0].box_xywh, margin_frac=margin)
        found = self._eyes.find(frame) if self._eyes else None
        if found is None:
            return Seen(0.0, *[self._label(plain)] * 3)
        box, tilt_deg = found
        turned = (level_crop(frame, box, angle) for angle in (tilt_deg, angle_deg))
        return Seen(tilt_deg, self._label(plain), *map(self._label, turned))

    def _label(self, crop: Image) -> int:
        inputs = self._classifier.prepare(crop)[np.newaxis]
        return int(self._classifier.probabilities(inputs).argmax())


def figures(seen: Sequence[Seen | None], labels: Sequence[int]) -> dict[str, Any]:
    """Returns how many faces were found and answered rightly, JSON-ready.

    Args:
        seen: Of one detector at one angle.
        labels: The true ones, in the same order.
    """
    found = [(one, int(y)) for one, y in zip(seen, labels, strict=True) if one]
    plain = np.array([one.plain == y for one, y in found])
    result: dict[str, Any] = {
        "images": len(seen),
        "found": len(found),
        "plain": share(plain),
        "level": [],
    }
    if not any(one.tilt_deg for one, _ in found):
        return result  # the detector has no landmarks
    tilts = np.array([one.tilt_deg for one, _ in found])
    result["exact"] = share(np.array([one.exact == y for one, y in found]))
    result["tilt_deg"] = [
        round(float(q), 1) for q in np.quantile(np.abs(tilts), (0.05, 0.5, 0.95))
    ]
    level = np.array([one.level == y for one, y in found])
    for threshold in THRESHOLDS:
        right = np.where(np.abs(tilts) > threshold, level, plain)
        better, worse = int((right & ~plain).sum()), int((plain & ~right).sum())
        result["level"].append(
            {
                "from_deg": threshold,
                **share(right),
                "better": better,
                "worse": worse,
                "mcnemar_p": round(mcnemar_p(worse, better), 6),
            }
        )
    return result


def share(right: np.ndarray) -> dict[str, Any]:
    """Returns the right answers of those found, with Wilson's interval."""
    count = int(right.sum())
    interval = wilson_interval(count, len(right)) if len(right) else (0.0, 1.0)
    accuracy = count / len(right) if len(right) else 0.0
    return {"right": count, "accuracy": round(accuracy, 4), "interval_95": interval}


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    options = _parser().parse_args(argv)
    return exit_code_of(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    check_writable([options.json], force=options.force)
    started = time.monotonic()
    classifier = Classifier.load(model_path(options.model))
    votes = VoteSource(options.labels_from) if options.labels_from else None
    images = load_images(
        str(options.data),
        [classifier],
        split=options.split,
        limit=options.images,
        votes=votes,
    )
    split = images.in_format_of(classifier)
    rows = []
    ways = [Way(*detector, classifier) for detector in DETECTORS]
    for angle in ANGLES:
        seen: list[list[Seen | None]] = [[] for _ in ways]
        for at, image in enumerate(split.images):
            signed = angle if at % 2 else -angle  # half of them to the other side
            frame = tilted_frame(image, signed)
            for way, answers in zip(ways, seen, strict=True):
                answers.append(way.go(frame, signed))
            if at % EVERY == 0 and sys.stderr.isatty():
                print(f"{angle} degrees: {at}", end="\r", file=sys.stderr)
        for (detector, width_px), answers in zip(DETECTORS, seen, strict=True):
            row = {"detector": detector, "detect_width": width_px, "angle_deg": angle}
            rows.append({**row, **figures(answers, split.labels.tolist())})
            print(line(rows[-1]), flush=True)
    document = {
        "schema": SCHEMA,
        "created": now(),
        "model": model_record(classifier.file.name, classifier, 1),
        "data": images.name,
        "split": images.split,
        "frame_wh": list(FRAME_WH),
        "face_px": FACE_PX,
        "rows": rows,
        "seconds": round(time.monotonic() - started),
        "machine": machine_card(),
    }
    save_result(document, options.json)
    return 0


def line(row: dict[str, Any]) -> str:
    """Returns one row as text."""
    plain = row["plain"]
    text = (
        f"{row['detector']} {row['detect_width']} px {row['angle_deg']:2} deg: found"
        f" {row['found']} of {row['images']}; right {plain['accuracy']:.1%}"
    )
    if "exact" in row:
        text += f"; by the exact angle {row['exact']['accuracy']:.1%}"
    for level in row["level"]:
        text += (
            f"; from {level['from_deg']} deg {level['accuracy']:.1%}"
            f" (+{level['better']} -{level['worse']})"
        )
    return text


def _parser() -> argparse.ArgumentParser:
    parser = CommandLine(
        prog="python -m tests.performance.level",
        description="Measures whether tilted faces are better levelled first.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add("model", nargs="?", metavar="MODEL", help="model file (the released one)")
    add("--data", type=Path, required=True, metavar="PATH", help="labelled faces")
    add("--labels-from", type=Path, metavar="CSV", help="raters' votes")
    add("--split", help="of the data (test, else validation)")
    add("--images", type=flags.positive, default=600, metavar="N", help="(600)")
    add("--json", type=Path, metavar="FILE", help="keep the result as JSON")
    add("--force", action="store_true", help="replace an existing file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
