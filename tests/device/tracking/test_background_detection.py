"""A detector that runs in a thread of its own while frames are processed."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
import pytest

from edge_runtime.cli.run import waits_for_detector
from edge_runtime.detection.base import Face, WholeImage
from edge_runtime.detection.boxes import iou
from edge_runtime.pipeline.pipeline import Pipeline
from edge_runtime.preprocessing import Image
from edge_runtime.results import Box, FrameResult
from edge_runtime.sources import Frame
from edge_runtime.tracking import background_detection
from edge_runtime.tracking.background_detection import (
    DetectionReplay,
    fast_forward,
    run_detector,
)
from edge_runtime.tracking.template_matching import extract_patch
from edge_runtime.tracking.tracker import Track
from tests.device.pipeline.test_pipeline import Brightness, Light, painted

PATIENCE_S = 10.0
SIDE = 60
NOBODY = np.full((240, 320, 3), 40, np.uint8)


class Slow(Light):
    """Finds the light square when it is allowed to; the first time at once."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end = threading.Semaphore(1)
        self.waiting = threading.Event()

    def detect(self, frame: Image) -> list[Face]:
        self.waiting.set()
        allowed = self.may_end.acquire(timeout=PATIENCE_S)
        self.waiting.clear()
        assert allowed
        time.sleep(0.06)  # more than half of the time between two frames
        return super().detect(frame)


class Camera:
    """Hands frames to a pipeline, ten a second of their own time."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.count = pipeline, 0

    def pause(self, seconds: int) -> None:
        """Gives no frame for so long."""
        self.count += 10 * seconds

    def show(self, image: Image) -> FrameResult:
        at_s = self.count / 10
        self.count += 1
        return self.pipeline.process(Frame(image, self.count, at_s, "camera"))

    def show_until_detected(self, image: Image) -> FrameResult:
        end = time.monotonic() + PATIENCE_S
        while not (result := self.show(image)).detected:
            assert time.monotonic() < end, "the result never came"
            time.sleep(0.005)
        return result


@contextmanager
def camera(detector: Light, every: int = 1) -> Iterator[Camera]:
    """Yields a camera that has shown an empty room: that frame had to wait."""
    pipeline = Pipeline(
        detector, Brightness(), detect_every=every, wait_for_detector=False
    )
    with closing(pipeline):
        shown = Camera(pipeline)
        assert shown.show(NOBODY).detected
        detector.calls = 0
        yield shown


@contextmanager
def tracked(every: int) -> Iterator[tuple[Camera, Slow]]:
    """Yields a camera before which a confirmed face stands at 40, 40."""
    slow = Slow()
    with camera(slow, every) as shown:
        for _ in range(every):
            shown.show(painted(40, 40))
        for _ in range(2):
            slow.may_end.release()
            shown.show_until_detected(painted(40, 40))
        yield shown, slow


def boxes(result: FrameResult) -> list[Box]:
    return [face.box_xywh for face in result.faces]


def test_no_frame_waits_for_the_detector_which_works_on_one_at_a_time() -> None:
    slow = Slow()
    with camera(slow) as shown:
        results = [shown.show(painted(40, 40)) for _ in range(12)]
        assert not any(one.detected or one.faces for one in results)
        assert all(one.detect_ms == 0 for one in results)
        slow.may_end.release()
        seen = shown.show_until_detected(painted(40, 40))
        assert iou(boxes(seen)[0], (40, 40, SIDE, SIDE)) > 0.85
        assert seen.detect_ms > 0
        slow.may_end.release()  # a new face has to be confirmed, at once
        shown.show_until_detected(painted(40, 40))
        assert slow.calls == 2


def test_time_of_the_detector_is_not_counted_as_time_around_it() -> None:
    slow = Slow()
    with camera(slow) as shown:
        shown.show(painted(40, 40))
        time.sleep(0.3)
        slow.may_end.release()
        seen = shown.show_until_detected(painted(40, 40))
        assert seen.detect_ms > 290
        assert 0 <= seen.track_ms < 200


def test_face_that_moved_meanwhile_is_found_where_it_is_now() -> None:
    slow = Slow()
    with camera(slow) as shown:
        shown.show(painted(40, 40))
        slow.may_end.release()
        seen = shown.show_until_detected(painted(56, 52))
        assert iou(boxes(seen)[0], (56, 52, SIDE, SIDE)) > 0.75


def test_face_detected_some_frames_ago_is_found_though_it_moved_far() -> None:
    slow = Slow()
    with camera(slow) as shown:
        places = [40 + 18 * step for step in range(8)]  # two sides in all
        for x in places:
            shown.show(painted(x, 40))
        slow.may_end.release()
        time.sleep(0.2)  # else many frames came meanwhile, of which few are kept
        seen = shown.show_until_detected(painted(places[-1], 40))
        assert iou(boxes(seen)[0], (places[-1], 40, SIDE, SIDE)) > 0.7


def test_face_that_got_lost_meanwhile_is_not_shown() -> None:
    slow = Slow()
    with camera(slow) as shown:
        shown.show(painted(40, 40))
        shown.show(painted(240, 160))
        slow.may_end.release()
        assert shown.show_until_detected(painted(240, 160)).faces == ()
        slow.may_end.release()  # the next detection finds it
        seen = shown.show_until_detected(painted(240, 160))
        assert iou(boxes(seen)[0], (240, 160, SIDE, SIDE)) > 0.7


def test_tracked_face_is_corrected_by_an_old_detection_and_stays_where_it_is() -> None:
    with tracked(every=2) as (shown, slow):
        for step in range(6):  # of these the detector has seen an early one alone
            shown.show(painted(40 + 8 * step, 40))
        slow.may_end.release()
        seen = shown.show_until_detected(painted(80, 40))
        assert iou(boxes(seen)[0], (80, 40, SIDE, SIDE)) > 0.75
        assert [face.track_id for face in seen.faces] == [1]


def test_loss_during_a_detection_starts_another_one() -> None:
    with tracked(every=3) as (shown, slow):
        for _ in range(3):
            shown.show(painted(40, 40))  # the third is submitted
        shown.show(NOBODY)
        calls = slow.calls
        for _ in range(2):
            slow.may_end.release()
            result = shown.show_until_detected(NOBODY)
        assert slow.calls == calls + 2
        assert result.faces == ()


def test_frame_waits_where_the_next_one_is_far_off() -> None:
    slow = Slow()
    with camera(slow) as shown:
        shown.pause(2)
        slow.may_end.release()
        result = shown.show(painted(40, 40))
        assert result.detected
        assert boxes(result) == [(40, 40, SIDE, SIDE)]
        assert result.detect_ms > 50
        assert result.track_ms < result.detect_ms


def test_only_frame_of_a_camera_is_answered() -> None:
    with closing(Pipeline(Light(), Brightness(), wait_for_detector=False)) as pipeline:
        assert boxes(Camera(pipeline).show(painted(40, 40))) == [(40, 40, SIDE, SIDE)]


def test_detector_that_hangs_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the loop stands still, and the watchdog starts the service again."""
    monkeypatch.setattr(background_detection, "MAX_DETECTION_S", 0.2)
    slow = Slow()
    with camera(slow) as shown:
        shown.show(painted(40, 40))
        threading.Timer(0.6, slow.may_end.release).start()
        started = time.monotonic()
        time.sleep(0.25)
        assert shown.show(painted(40, 40)).detected
        assert time.monotonic() - started > 0.5


def test_face_unlike_itself_is_shown_until_the_detector_has_said_it_is_gone() -> None:
    with tracked(every=100) as (shown, slow):
        for _ in range(3):
            assert len(shown.show(NOBODY).faces) == 1
        slow.may_end.release()
        assert shown.show_until_detected(NOBODY).faces == ()
        assert shown.show(NOBODY).faces == ()


def test_face_that_turns_keeps_its_number() -> None:
    def turned(x: int) -> Image:
        image = painted(x, 40)
        image[40 : 40 + SIDE, x : x + SIDE] = image[40 : 40 + SIDE, x : x + SIDE][::-1]
        return image

    with tracked(every=100) as (shown, slow):
        assert len(shown.show(turned(44)).faces) == 1
        slow.may_end.release()
        seen = shown.show_until_detected(turned(44))
        assert [face.track_id for face in seen.faces] == [1]
        slow.may_end.release()
        after = shown.show(turned(44))
        assert iou(boxes(after)[0], (44, 40, SIDE, SIDE)) > 0.75


def test_detection_in_an_image_of_another_size_is_discarded() -> None:
    slow = Slow()
    with camera(slow) as shown:
        shown.show(painted(40, 40))
        slow.may_end.release()
        time.sleep(0.2)
        small = painted(40, 40)[:120, :160]
        assert not shown.show(small).detected
        slow.may_end.release()
        seen = shown.show_until_detected(small)
        assert iou(boxes(seen)[0], (40, 40, SIDE, SIDE)) > 0.85


def test_detection_from_before_a_pause_is_discarded() -> None:
    slow = Slow()
    with camera(slow) as shown:
        for _ in range(2):
            shown.show(painted(40, 40))
        shown.pause(60)
        shown.show(NOBODY)
        slow.may_end.release()
        time.sleep(0.2)
        result = shown.show(NOBODY)  # would be shown whoever was there a minute ago
        assert (result.detected, result.faces) == (False, ())
        slow.may_end.release()
        assert shown.show_until_detected(NOBODY).faces == ()
        assert slow.calls == 2


def test_error_of_the_detector_reaches_the_loop() -> None:
    class Broken(Light):
        def detect(self, frame: Image) -> list[Face]:
            raise RuntimeError("no face today")

    pipeline = Pipeline(Broken(), Brightness(), detect_every=1, wait_for_detector=False)
    with closing(pipeline), pytest.raises(RuntimeError, match="no face today"):
        Camera(pipeline).show_until_detected(painted(40, 40))


def test_error_in_the_detectors_thread_reaches_the_loop() -> None:
    class Breaking(Slow):
        def detect(self, frame: Image) -> list[Face]:
            found = super().detect(frame)
            if self.calls > 0 and found:
                raise RuntimeError("no more faces")
            return found

    slow = Breaking()
    with camera(slow) as shown:
        slow.may_end.release()
        with pytest.raises(RuntimeError, match="no more faces"):
            shown.show_until_detected(painted(40, 40))


def test_end_does_not_wait_for_a_detection() -> None:
    slow = Slow()
    with camera(slow) as shown:
        shown.show(painted(40, 40))
        assert slow.waiting.wait(PATIENCE_S)
    assert slow.waiting.is_set()
    slow.may_end.release()


def test_whole_frames_need_no_thread() -> None:
    pipeline = Pipeline(WholeImage(), Brightness(), wait_for_detector=False)
    assert Camera(pipeline).show(painted(40, 40)).detected


def replayed(
    replay: DetectionReplay, image: Image, *tracks: Track
) -> list[tuple[int | None, Box]]:
    found = fast_forward(replay, image, tracks)
    return [(one.track_id, one.face.box_xywh) for one in found]


def track(number: int, x: float, y: float) -> Track:
    return Track(number, (x, y, SIDE, SIDE), 1.0, False, 0.0)


def seen(image: Image, *tracks: Track) -> DetectionReplay:
    return DetectionReplay(
        run_detector(image, Light(), {one.id: one.box for one in tracks})
    )


def test_face_is_matched_to_its_track_in_the_detections_own_frame() -> None:
    one, other = track(1, 42, 38), track(2, 200, 150)
    detection = seen(painted(40, 40), one, other)
    one.box, other.box = (150.0, 60.0, SIDE, SIDE), (52.0, 44.0, SIDE, SIDE)
    ((number, box),) = replayed(detection, painted(52, 44), one, other)
    assert number == 1
    assert box == pytest.approx((52, 44, 60, 60), abs=3)


def test_face_that_is_lost_has_moved_as_its_track_or_is_left_out() -> None:
    one = track(1, 42, 38)
    detection = seen(painted(40, 40), one)
    assert replayed(seen(painted(40, 40)), NOBODY) == []
    one.box = (142.0, 48.0, SIDE, SIDE)
    assert replayed(detection, NOBODY, one) == [(1, (140, 50, SIDE, SIDE))]
    one.visible = False  # its place is not known
    assert replayed(detection, NOBODY, one) == []


def test_face_keeps_its_appearance_in_the_detections_frame() -> None:
    then, now = painted(40, 40), painted(52, 44)
    (found,) = fast_forward(seen(then), now, [])
    expected = extract_patch(then, (40, 40, SIDE, SIDE))
    assert found.patch is not None
    assert expected is not None
    assert np.array_equal(found.patch.grey, expected.grey)


@contextmanager
def detecting() -> Iterator[tuple[background_detection.BackgroundDetector, Slow]]:
    """Yields a detector at work on a face at 40, 40 until it may end."""
    slow = Slow()
    slow.may_end.acquire()
    background = background_detection.BackgroundDetector(slow)
    with closing(background):
        background.submit(painted(40, 40), {})
        yield background, slow


def awaited(
    background: background_detection.BackgroundDetector,
) -> DetectionReplay | None:
    """Returns the result when it is there."""
    end = time.monotonic() + PATIENCE_S
    while (found := background.result()) is None and not background.idle:
        assert time.monotonic() < end, "the result never came"
        time.sleep(0.001)
    return found


def test_thread_replays_the_frames_that_came_during_the_detection() -> None:
    with detecting() as (background, slow):
        for step in range(1, 5):
            background.add_frame(painted(40 + 20 * step, 40))
        slow.may_end.release()
        found = awaited(background)
    assert found is not None
    assert found.pending == []
    assert found.boxes == [pytest.approx((120, 40, SIDE, SIDE), abs=3)]


def test_frames_that_come_during_the_replay_are_left_pending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = [painted(80 + step, 40) for step in range(2)]
    with detecting() as (background, slow):

        def advance(replay: DetectionReplay, image: Image) -> None:
            for one in late:
                background.add_frame(one)

        monkeypatch.setattr(DetectionReplay, "advance", advance)
        background.add_frame(painted(60, 40))
        slow.may_end.release()
        found = awaited(background)
        assert found is not None
        assert all(one is other for one, other in zip(found.pending, late, strict=True))
        background.submit(painted(40, 40), {})  # newer than those frames
        slow.may_end.release()
        again = awaited(background)
    assert again is not None
    assert again.pending == []


def test_discarded_detection_is_not_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    advanced = []
    monkeypatch.setattr(
        DetectionReplay, "advance", lambda replay, image: advanced.append(image)
    )
    with detecting() as (background, slow):
        background.add_frame(painted(60, 40))
        background.discard()
        slow.may_end.release()
        assert awaited(background) is None
    assert advanced == []


def test_few_of_many_frames_are_kept_the_newest_among_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[int] = []
    monkeypatch.setattr(
        DetectionReplay, "advance", lambda replay, image: kept.append(int(image[0, 0]))
    )
    with detecting() as (background, slow):
        for number in range(100):
            background.add_frame(np.full((2, 2), number, np.uint8))
        slow.may_end.release()
        awaited(background)
    assert 0 < len(kept) <= background_detection.MAX_PENDING_FRAMES
    assert kept == sorted(kept)
    assert kept[-1] == 99


@pytest.mark.parametrize(
    ("detect_waits", "privacy", "live", "waits"),
    [
        (False, "none", True, False),
        (False, "none", False, True),
        (True, "none", True, True),
        (False, "blur", True, True),
    ],
    ids=["camera", "file", "asked for", "blurred"],
)
def test_frames_wait_for_the_detector(
    detect_waits: bool, privacy: str, live: bool, waits: bool
) -> None:
    args = argparse.Namespace(detect_waits=detect_waits, privacy=privacy)
    assert waits_for_detector(args, live=live) == waits


def test_detection_has_ended_when_a_pipeline_is_closed() -> None:
    class Leisurely(Light):
        begun = ended = 0

        def detect(self, frame: Image) -> list[Face]:
            self.begun += 1
            time.sleep(0.06)  # more than half of the time between two frames
            self.ended += 1
            return super().detect(frame)

    detector = Leisurely()
    pipeline = Pipeline(detector, Brightness(), wait_for_detector=False, detect_every=1)
    camera = Camera(pipeline)
    while detector.begun < 3 or detector.begun == detector.ended:
        camera.show(painted(40, 40))
    pipeline.close()
    assert detector.begun == detector.ended


def test_a_detector_that_hangs_does_not_keep_a_pipeline_open() -> None:
    with detecting() as (background, slow):
        assert slow.waiting.wait(PATIENCE_S)
        background.close()
        assert slow.waiting.is_set()
