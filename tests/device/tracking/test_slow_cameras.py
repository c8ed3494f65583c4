"""One person has one number, however few frames a second there are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edge_runtime.detection.base import Face
from edge_runtime.preprocessing import Image
from edge_runtime.results import Box
from edge_runtime.tracking.face_tracker import FaceTracker

SIDE, WIDTH, HEIGHT = 60, 640, 360
RATES = (25.0, 10.0, 5.0, 4.0, 3.0, 2.0, 1.0)


class Faces:
    """Finds the faces at the places that it is told."""

    name = "known"

    def __init__(self) -> None:
        self.boxes: list[Box] = []
        self.runs = 0

    def detect(self, frame: Image) -> list[Face]:
        self.runs += 1
        return [Face(box) for box in self.boxes]


def drawn(boxes: list[Box], first: int = 0) -> Image:
    """Returns a noisy frame with another face for each box, from the first one on."""
    image = np.random.default_rng(0).integers(90, 110, (HEIGHT, WIDTH), np.uint8)
    for number, (x, y, width, height) in enumerate(boxes, first):
        face = np.random.default_rng(number + 1).integers(0, 255, (6, 6), np.uint8)
        face = np.kron(face, np.ones((SIDE // 6, SIDE // 6), np.uint8))
        image[y : y + height, x : x + width] = face
    return image


def pacing(time_s: float, speed_sides_per_s: float, low: int, high: int) -> int:
    """Returns the left edge of who walks up and down."""
    way = time_s * speed_sides_per_s * SIDE
    lap = high - low
    return round(low + abs((way + lap) % (2 * lap) - lap))


def numbers(fps: float, *walks: tuple[float, int, int, int]) -> list[set[int]]:
    """Returns the numbers of those who pace for twenty seconds, person by person."""
    detector = Faces()
    tracker = FaceTracker(detector)
    found: list[set[int]] = [set() for _ in walks]
    for index in itertools.count():
        if (time_s := index / fps) > 20:
            return found
        places = [
            (pacing(time_s, speed, low, high), y) for speed, low, high, y in walks
        ]
        detector.boxes = [(x, y, SIDE, SIDE) for x, y in places]
        faces = tracker.update(drawn(detector.boxes), time_s)
        for face in faces.visible:
            _, y, _, _ = face.face.box_xywh
            nearest = min(range(len(walks)), key=lambda who: abs(walks[who][3] - y))
            found[nearest].add(face.track_id)
    return found


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("speed_sides_per_s", [0.5, 1.5, 2.5])
def test_who_paces_has_one_number(fps: float, speed_sides_per_s: float) -> None:
    assert numbers(fps, (speed_sides_per_s, 20, 560, 100)) == [{1}]


@pytest.mark.parametrize("fps", RATES)
def test_two_who_pace_have_two(fps: float) -> None:
    upper, lower = numbers(fps, (1.0, 20, 560, 20), (1.5, 20, 560, 280))
    assert (len(upper), len(lower)) == (1, 1)
    assert upper != lower


@pytest.mark.parametrize("fps", [25.0, 10.0])
def test_detector_runs_as_rarely_as_before_where_frames_are_close(fps: float) -> None:
    detector = Faces()
    tracker = FaceTracker(detector)
    detector.boxes = [(100, 100, SIDE, SIDE)]
    for index in range(50):
        tracker.update(drawn(detector.boxes), index / fps)
    assert detector.runs <= 12


def test_new_face_of_a_slow_camera_is_found_in_its_first_frame() -> None:
    detector = Faces()
    tracker = FaceTracker(detector)
    for index in range(6):
        detector.boxes = [(100, 100, SIDE, SIDE)] if index == 4 else []
        faces = tracker.update(drawn(detector.boxes), float(index))
        assert len(faces.visible) == (index == 4)


@pytest.mark.parametrize("fps", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("sides", [2.0, 3.3, 4.7])
@pytest.mark.parametrize("wait", [True, False])
def test_who_comes_elsewhere_as_another_leaves_is_another(
    fps: float, sides: float, wait: bool
) -> None:
    detector, places = Faces(), (100, round(100 + sides * SIDE))
    tracker = FaceTracker(detector, wait_for_detector=wait)
    found: list[set[int]] = [set(), set()]
    for index in range(8):
        who = index // 4
        detector.boxes = [(places[who], 100, SIDE, SIDE)]
        faces = tracker.update(drawn(detector.boxes, who), index / fps)
        found[who] |= {
            face.track_id
            for face in faces.visible
            if abs(face.face.box_xywh[0] - places[who]) < SIDE / 2
        }
    tracker.close()
    assert found == [{1}, {2}]


def test_who_jumps_and_comes_nearer_is_the_same() -> None:
    detector = Faces()
    tracker = FaceTracker(detector)
    image = drawn([(100, 100, SIDE, SIDE)])
    for time_s in (0.0, 1.0):
        detector.boxes = [(100, 100, SIDE, SIDE)]
        tracker.update(image, time_s)
    larger = np.kron(image[100:160, 100:160], np.ones((3, 3), np.uint8))[::2, ::2]
    image = drawn([])
    image[100:190, 350:440] = larger
    detector.boxes = [(350, 100, 90, 90)]
    (face,) = tracker.update(image, 2.0).visible
    assert face.track_id == 1
