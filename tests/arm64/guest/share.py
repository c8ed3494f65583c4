"""Marks detector, network and all else of a loop for the plugin that counts.

    python share.py CLIP DETECTOR [DETECTOR_MODEL]

The released model, one thread, every frame of the clip: what ``run`` does for a video
with ``--json``, but for decoding it, which a thread of its own does.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
from count import mark  # beside this file

from edge_runtime import Classifier
from edge_runtime.detection.factory import open_detector
from edge_runtime.outputs.documents import frame_document
from edge_runtime.pipeline.pipeline import Pipeline
from edge_runtime.sources import Frame, open_source

# What was done before a mark.
BEFORE, AROUND, DETECTOR, NETWORK = range(4)


def marked(call: Callable[..., Any], number: int) -> Callable[..., Any]:
    """Returns a call with a mark before it and its own behind it."""

    def marking(*arguments: Any) -> Any:
        mark(AROUND)
        result = call(*arguments)
        mark(number)
        return result

    return marking


def main() -> None:
    """Runs the loop over the clip and prints what it did."""
    cv2.setNumThreads(1)
    clip, name, *model = sys.argv[1:]
    with open_source(clip) as source:
        frames: list[Frame] = list(source)
    detector = open_detector(name, Path(model[0]) if model else None)
    classifier = Classifier.load("fer2013")
    detector.detect(frames[0].image)  # libraries get ready
    detector.detect = marked(detector.detect, DETECTOR)  # type: ignore[method-assign]
    backend = classifier.backend
    backend.logits = marked(backend.logits, NETWORK)  # type: ignore[method-assign]
    pipeline = Pipeline(detector, classifier)
    faces = detected = 0
    gc.collect()
    mark(BEFORE)
    for frame in frames:
        result = pipeline.process(frame)
        json.dumps(frame_document(result))
        faces, detected = faces + len(result.faces), detected + result.detected
    mark(AROUND)
    print(json.dumps({"frames": len(frames), "faces": faces, "detections": detected}))


if __name__ == "__main__":
    main()
