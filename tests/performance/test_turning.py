"""What ``--rotate``, ``--mirror`` and ``--roi`` add to a frame's processor time."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime import Classifier, Pipeline, open_source
from edge_runtime.detection.factory import open_detector
from edge_runtime.pipeline.regions import RegionPipeline
from edge_runtime.pipeline.words import words_in_run
from edge_runtime.preprocessing import Image
from edge_runtime.sources import Frame
from edge_runtime.sources.orientation import Rotation, turned
from edge_runtime.sources.region import parse_regions
from tests.performance.clip import write_clip

MOST_OF_A_FRAME = 0.03
DETECTOR = "yunet"  # the faster one: of its frame's time, all else is a larger share
ROUNDS = 6  # the least of them is each frame's time

Process = Callable[[Frame], Any]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    write_clip(path)
    with open_source(str(path)) as source:
        return list(source)


def portrait(image: Image) -> Image:
    """Returns 480x640 pixels of a 640x480 frame: its middle, mirrored at both ends."""
    middle = image[:, 80:560]
    return np.asarray(cv2.copyMakeBorder(middle, 80, 80, 0, 0, cv2.BORDER_REFLECT_101))


def one_pipeline(track_ids: Any = None) -> Pipeline:
    classifier = Classifier.load("ferplus")
    return Pipeline(open_detector(DETECTOR), classifier, track_ids=track_ids)


def compare(
    frames: list[Frame],
    ways: tuple[Callable[[], Process], Callable[[], Process]],
    images: tuple[list[Image], list[Image]],
) -> float:
    """Returns the share that the second way adds to a frame's time after reading it.

    Both take turns, frame by frame, on images that are new in memory, as from a camera.
    """
    times = np.full((ROUNDS, len(frames), 2), np.inf)
    for number in range(ROUNDS):
        processes = [way() for way in ways]
        for index, which in itertools.product(range(len(frames)), (0, 1)):
            which = (which + index + number) % 2
            frame = replace(frames[index], image=images[which][index].copy())
            before = time.process_time()
            processes[which](frame)
            times[number, index, which] = time.process_time() - before
    plain_ms, changed_ms = 1000 * times.min(axis=0).mean(axis=0)
    share = changed_ms / plain_ms - 1
    print(f"{plain_ms:.3f} ms and {changed_ms - plain_ms:+.3f} ms ({share:+.2%})")
    return float(share)


@pytest.mark.parametrize(
    ("rotate", "hflip"), [(90, False), (180, False), (270, False), (0, True)]
)
def test_turning_takes_little_of_a_frames_time(
    frames: list[Frame], rotate: Rotation, hflip: bool
) -> None:
    on_its_side = rotate in (90, 270)
    upright = [portrait(each.image) if on_its_side else each.image for each in frames]
    back: Rotation = {90: 270, 270: 90}.get(rotate, rotate)
    hanging = [
        np.ascontiguousarray(turned(image, back, hflip=hflip)) for image in upright
    ]

    def turning() -> Process:
        pipeline = one_pipeline()
        return lambda frame: pipeline.process(
            replace(frame, image=turned(frame.image, rotate, hflip=hflip))
        )

    share = compare(
        frames, (lambda: one_pipeline().process, turning), (upright, hanging)
    )
    assert share <= MOST_OF_A_FRAME


def test_region_takes_little_of_a_frames_time(frames: list[Frame]) -> None:
    """The whole frame is the region: in a smaller one there is less to do."""
    images = [frame.image for frame in frames]
    words = words_in_run(Classifier.load("ferplus").spec, DETECTOR)

    def regions() -> Process:
        whole = parse_regions(["all=0,0,100%,100%"])
        return RegionPipeline(whole, one_pipeline, words).process

    share = compare(frames, (lambda: one_pipeline().process, regions), (images, images))
    assert share <= MOST_OF_A_FRAME
