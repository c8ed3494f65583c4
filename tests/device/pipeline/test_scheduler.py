"""With more faces than time, those classified longest ago come first."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.__main__ import main
from edge_runtime.detection.base import Face
from edge_runtime.inference.classifier import Classifier
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.outputs.documents import frame_document
from edge_runtime.pipeline import scheduler as scheduler_module
from edge_runtime.pipeline.decisions import DecisionConfig, Observation, TrackDecisions
from edge_runtime.pipeline.pipeline import Pipeline
from edge_runtime.pipeline.scheduler import PERIOD_FRAMES, RoundRobinScheduler
from edge_runtime.preprocessing import Image, to_model_input
from edge_runtime.results import FrameResult
from edge_runtime.sources import Frame

PIXELS = np.zeros((4, 4), np.uint8)


class StoppedClock:
    """Shows the time it was set to."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(name="clock")
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    stopped = StoppedClock()
    monkeypatch.setattr(scheduler_module, "perf_counter", stopped)
    return stopped


def at(index: int, time_s: float) -> Frame:
    return Frame(PIXELS, index, time_s, "camera")


def running(period_s: float, *, face_s: float, every: int = 1) -> RoundRobinScheduler:
    """Returns a scheduler that knows a camera's period and the time for a face."""
    scheduler = RoundRobinScheduler(every)
    for number in range(2):
        scheduler.start_frame(at(number * every, number * every * period_s))
    scheduler.record_duration(1, face_s)
    return scheduler


def shares(
    scheduler: RoundRobinScheduler, numbers: Sequence[int], frames: int
) -> list[list[int]]:
    """Returns who is chosen in each of some frames."""
    return [[numbers[n] for n in scheduler.choose(numbers, [])] for _ in range(frames)]


def test_all_are_chosen_where_there_is_time(clock: StoppedClock) -> None:
    scheduler = running(0.033, face_s=0.010)
    assert shares(scheduler, [7, 8, 9], 3) == [[7, 8, 9]] * 3


def test_all_are_chosen_as_long_as_no_time_is_known(clock: StoppedClock) -> None:
    scheduler = RoundRobinScheduler()
    scheduler.start_frame(at(0, 0.0))
    assert shares(scheduler, [1, 2, 3], 2) == [[1, 2, 3]] * 2
    scheduler.record_duration(3, 9.0)  # but not the camera's period
    assert shares(scheduler, [1, 2, 3], 2) == [[1, 2, 3]] * 2


def test_all_are_chosen_where_only_the_period_is_known(clock: StoppedClock) -> None:
    scheduler = RoundRobinScheduler()  # nobody was there yet
    for number in range(5):
        scheduler.start_frame(at(number, number * 0.001))
    assert shares(scheduler, [1, 2, 3], 2) == [[1, 2, 3]] * 2


def test_camera_that_changes_its_rate_is_noticed(clock: StoppedClock) -> None:
    scheduler, now_s = running(0.010, face_s=0.010), 0.010
    scheduler.choose([1, 2, 3], [])
    rooms = []
    for number in range(2, 2 + 2 * PERIOD_FRAMES):
        now_s += 0.035
        scheduler.start_frame(at(number, now_s))
        rooms.append(len(scheduler.choose([1, 2, 3], [])))
    assert rooms[0] < 3  # one frame says little
    assert rooms[PERIOD_FRAMES:] == [3] * PERIOD_FRAMES
    assert PERIOD_FRAMES < 60  # two seconds of a usual camera


def test_those_classified_longest_ago_come_first(clock: StoppedClock) -> None:
    scheduler = running(0.033, face_s=0.015)
    found = []
    for number in range(2, 6):
        scheduler.start_frame(at(number, number * 0.033))
        found.append(scheduler.choose([10, 11, 12], []))
    assert found == [[0, 1, 2], [0, 1], [0, 2], [0, 1]]  # of equals the first


def test_one_is_chosen_where_there_is_time_for_none(clock: StoppedClock) -> None:
    scheduler = running(0.001, face_s=0.050)
    found = []
    for number in range(2, 6):
        scheduler.start_frame(at(number, number * 0.001))
        found.append(scheduler.choose([1, 2], []))
    assert found == [[0, 1], [0], [1], [0]]


def test_new_faces_do_not_wait_and_one_other_goes_with_them(
    clock: StoppedClock,
) -> None:
    scheduler = running(0.001, face_s=0.050)
    scheduler.choose([1, 2], [])
    scheduler.start_frame(at(2, 0.002))
    assert scheduler.choose([1, 2, 3, 4], []) == [0, 2, 3]


def test_new_face_in_every_frame_leaves_nobody_out(clock: StoppedClock) -> None:
    # As of a detector that takes something else for a face each time.
    scheduler = running(0.001, face_s=0.050)
    found = []
    for number in range(2, 8):
        scheduler.start_frame(at(number, number * 0.001))
        chosen = scheduler.choose([1, 2, 100 + number], [99 + number])
        found.append([one for one in chosen if one < 2])
    assert found == [[0, 1], [0], [1], [0], [1], [0]]


def test_face_that_is_gone_is_forgotten(clock: StoppedClock) -> None:
    scheduler = running(0.001, face_s=0.050)
    scheduler.choose([1, 2, 3], [])
    scheduler.start_frame(at(2, 0.002))
    assert scheduler.choose([1, 2, 3], [2]) == [0, 1]  # 2, as one never seen
    assert set(scheduler._last_frame) == {1, 2, 3}
    scheduler.start_frame(at(3, 0.003))
    scheduler.choose([], [1, 2])
    assert set(scheduler._last_frame) == {3}


def test_what_the_frame_has_taken_already_counts(clock: StoppedClock) -> None:
    scheduler = running(0.033, face_s=0.010)
    scheduler.choose([1, 2, 3], [])
    scheduler.start_frame(at(2, 0.066))
    clock.now_s = 0.012
    assert scheduler.choose([1, 2, 3], []) == [0, 1]
    scheduler.start_frame(at(3, 0.099))
    clock.now_s += 0.020  # the detector was waited for
    assert scheduler.choose([1, 2, 3], []) == [2]


def test_faces_do_not_wait_where_the_frame_is_late_anyhow(clock: StoppedClock) -> None:
    scheduler = running(0.033, face_s=0.010)
    scheduler.choose([1, 2, 3], [])
    scheduler.start_frame(at(2, 0.066))
    clock.now_s = 0.045  # even longer
    assert scheduler.choose([1, 2, 3], []) == [0, 1, 2]


def test_late_frame_leaves_each_region_as_long_as_its_own_part_took(
    clock: StoppedClock,
) -> None:
    scheduler = running(1.0, face_s=0.125)
    scheduler.start_frame(at(2, 2.0))
    scheduler.choose(range(40), [])  # all are known then
    frame = at(3, 3.0)
    scheduler.start_frame(frame)
    clock.now_s += 1.5  # the detector of the first region
    assert len(scheduler.choose(range(20), [])) == 12
    clock.now_s += 1.5  # its faces
    scheduler.start_frame(frame)
    clock.now_s += 0.375  # the detector of the second one
    assert len(scheduler.choose(range(20, 40), [])) == 3


def test_frames_that_were_passed_over_are_counted(clock: StoppedClock) -> None:
    scheduler = RoundRobinScheduler()
    for number in range(3):
        scheduler.start_frame(
            at(4 * number, number * 0.100)
        )  # a camera's period of 25 ms
    scheduler.record_duration(1, 0.020)
    assert shares(scheduler, [1, 2], 2) == [[1, 2], [1]]


def test_frames_that_are_left_out_on_purpose_give_time(clock: StoppedClock) -> None:
    scheduler = running(0.025, face_s=0.020, every=4)
    assert shares(scheduler, [1, 2, 3, 4, 5], 2)[1] == [1, 2, 3, 4, 5]


def test_after_an_outage_the_period_is_measured_anew(clock: StoppedClock) -> None:
    scheduler = running(0.001, face_s=0.010)
    scheduler.choose([1, 2], [])
    scheduler.start_frame(at(2, 5.0))
    scheduler.reset_period()
    assert scheduler.choose([1, 2], []) == [0, 1]
    scheduler.start_frame(at(3, 5.025))
    assert scheduler.choose([1, 2], []) == [0, 1]
    scheduler.start_frame(at(4, 5.032))
    assert scheduler.choose([1, 2], []) == [0]


def test_one_slow_answer_changes_little(clock: StoppedClock) -> None:
    scheduler = running(0.033, face_s=0.010)
    scheduler.record_duration(1, 0.020)
    assert shares(scheduler, [1, 2], 2)[1] == [1, 2]


@given(
    faces=st.integers(1, 12),
    room=st.integers(1, 12),
    stay=st.lists(st.integers(0, 11), max_size=40),
)
def test_nobody_is_left_out_for_long(faces: int, room: int, stay: list[int]) -> None:
    period_s = 1000.0  # whatever this machine does meanwhile
    scheduler = running(period_s, face_s=period_s / (room + 0.5))
    numbers = list(range(faces))
    scheduler.choose(numbers, [])
    waited = dict.fromkeys(numbers, 0)
    for frame, hidden in enumerate(stay, start=2):
        scheduler.start_frame(at(frame, frame * period_s))
        there = [one for one in numbers if one != hidden or faces == 1]
        chosen = {there[n] for n in scheduler.choose(there, [])}
        assert len(chosen) == min(room, len(there))
        waited = {
            one: 0 if one in chosen or one not in there else waited[one] + 1
            for one in numbers
        }
        assert max(waited.values()) <= math.ceil(faces / room)
    assert len(scheduler._frames) <= PERIOD_FRAMES


class Shade:
    """Tells how light a crop is; counts the faces of its calls."""

    def __init__(self) -> None:
        self.spec = ModelSpec(("dark", "light"), 8, "grey")
        self.batches: list[int] = []

    def prepare(self, image: Image) -> npt.NDArray[np.uint8]:
        return to_model_input(image, 8, "grey")

    def probabilities(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.batches.append(len(batch))
        light = batch.mean(axis=(1, 2, 3)) / 255
        return np.stack([1 - light, light], axis=1).astype(np.float32)


class Pair:
    """Finds two faces, always in the same places."""

    name = "pair"

    def detect(self, frame: Image) -> list[Face]:
        return [Face((4, 4, 40, 40)), Face((60, 4, 36, 36))]


def lit(value: int) -> Image:
    image = np.random.default_rng(1).integers(0, 40, (60, 110)).astype(np.uint8)
    image[:, 55:] += np.uint8(200)
    image[0, 0] = value
    return image


def answers(pipeline: Pipeline, count: int, period_s: float) -> list[FrameResult]:
    return [
        pipeline.process(Frame(lit(n), n, n * period_s, "camera")) for n in range(count)
    ]


@pytest.fixture
def one_a_frame(monkeypatch: pytest.MonkeyPatch) -> RoundRobinScheduler:
    """A scheduler with time for one face a frame."""
    scheduler = RoundRobinScheduler()
    monkeypatch.setattr(scheduler, "_capacity", lambda faces: 1)
    return scheduler


def test_faces_that_wait_keep_their_probabilities_and_the_time_of_these(
    one_a_frame: RoundRobinScheduler,
) -> None:
    classifier = Shade()
    pipeline = Pipeline(Pair(), classifier, detect_every=1, scheduler=one_a_frame)
    found = answers(pipeline, 5, 0.1)
    assert classifier.batches == [2, 1, 1, 1, 1]
    assert [[face.track_id for face in one.faces] for one in found] == [[1, 2]] * 5
    times = [[face.classified_s or 0.0 for face in one.faces] for one in found]
    expected = [[0.0, 0.0], [0.1, 0.0], [0.1, 0.2], [0.3, 0.2], [0.3, 0.4]]
    assert np.allclose(times, expected)
    first, second = (one.faces[1] for one in found[:2])
    assert second.probabilities == first.probabilities
    assert [one.classified for one in found] == [2, 1, 1, 1, 1]
    document = frame_document(found[2])
    assert [face["classified_s"] for face in document["faces"]] == [0.1, 0.2]


def test_kept_probabilities_are_smoothed_once(one_a_frame: RoundRobinScheduler) -> None:
    class Growing(Shade):
        """Is surer of each face each time."""

        def probabilities(
            self, batch: npt.NDArray[np.uint8]
        ) -> npt.NDArray[np.float32]:
            super().probabilities(batch)
            light = 0.5 + 0.08 * len(self.batches)
            return np.full((len(batch), 2), [1 - light, light], np.float32)

    decisions = DecisionConfig(half_life_s=1e9)  # a plain mean
    classifier = Growing()
    pipeline = Pipeline(
        Pair(), classifier, detect_every=1, decisions=decisions, scheduler=one_a_frame
    )
    last = answers(pipeline, 5, 0.1)[-1]
    means = [one.decision.probabilities["light"] for one in last.faces if one.decision]
    # Calls 1, 2, 4 saw the first face, 1, 3, 5 the second.
    assert means == pytest.approx([0.5 + 0.08 * 7 / 3, 0.5 + 0.08 * 9 / 3])


def test_nothing_is_kept_of_faces_that_are_gone(
    one_a_frame: RoundRobinScheduler,
) -> None:
    class Passing:
        """Finds a face that is in another place every few seconds."""

        name = "passing"
        looks = 0

        def detect(self, frame: Image) -> list[Face]:
            self.looks += 1
            return [Face((4 + 66 * (self.looks // 4 % 2), 4, 12, 12))]

    pipeline = Pipeline(Passing(), Shade(), detect_every=1, scheduler=one_a_frame)
    found = answers(pipeline, 200, 0.9)
    assert max(face.track_id or 0 for one in found for face in one.faces) > 10
    assert len(pipeline._classified) < 5
    assert set(pipeline._classified) == set(one_a_frame._last_frame)


def test_after_an_outage_and_a_new_size_the_cameras_period_is_measured_anew() -> None:
    scheduler = RoundRobinScheduler()
    pipeline = Pipeline(Pair(), Shade(), detect_every=1, scheduler=scheduler)
    times = [0.0, 0.1, 0.2, 30.0, 30.1]
    for number, time_s in enumerate(times):
        pipeline.process(Frame(lit(number), number, time_s, "camera"))
    assert [round(time_s, 1) for _, time_s in scheduler._frames] == [30.0, 30.1]
    image = np.pad(lit(5), 10)
    pipeline.process(Frame(image, 5, 30.2, "camera"))
    assert len(scheduler._frames) == 1


def run_on_fake_camera(
    model: Path, capsys: pytest.CaptureFixture[str], clock: str, *flags: str
) -> list[dict[str, Any]]:
    """Returns the frames' documents of a run."""
    source = f"fake:scene?faces=8&size=640x240&fps=1000&clock={clock}"
    assert main(["run", str(model), "--source", source, "--json", *flags]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_run_schedules_faces_where_frames_do_not_wait(
    tiny_model_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    clock: str,
) -> None:
    answer = Classifier.probabilities

    def slowly(self: Classifier, batch: np.ndarray) -> np.ndarray:
        time.sleep(0.005 * len(batch))  # else a busy machine's frames have time for all
        return answer(self, batch)

    monkeypatch.setattr(Classifier, "probabilities", slowly)
    told = run_on_fake_camera(tiny_model_path, capsys, clock, "--max-frames", "100")
    kept = [
        face["classified_s"] < one["time_s"] for one in told for face in one["faces"]
    ]
    assert len(kept) > 300
    assert any(kept) == (clock == "real")


def test_run_knows_that_frames_are_left_out(
    tiny_model_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    class Noted(RoundRobinScheduler):
        def __init__(self, every: int = 1) -> None:
            super().__init__(every)
            seen.append(every)

    monkeypatch.setattr(scheduler_module, "RoundRobinScheduler", Noted)
    flags = ("--every", "3", "--max-frames", "2")
    run_on_fake_camera(tiny_model_path, capsys, "real", *flags)
    assert seen == [3]


def test_without_a_scheduler_each_face_is_classified_in_each_frame() -> None:
    classifier = Shade()
    found = answers(Pipeline(Pair(), classifier, detect_every=1), 3, 0.1)
    assert classifier.batches == [2, 2, 2]
    assert [[f.classified_s for f in one.faces] for one in found] == [
        [one.timestamp_s] * 2 for one in found
    ]


@pytest.mark.parametrize(
    ("prepare_s", "network_s"), [(0.0, 0.02), (0.02, 0.0)], ids=["network", "cropping"]
)
def test_faces_are_scheduled_where_they_take_longer_than_the_camera(
    prepare_s: float, network_s: float
) -> None:
    class Slow(Shade):
        def prepare(self, image: Image) -> npt.NDArray[np.uint8]:
            clock.now_s += prepare_s
            return super().prepare(image)

        def probabilities(
            self, batch: npt.NDArray[np.uint8]
        ) -> npt.NDArray[np.float32]:
            clock.now_s += network_s * len(batch)
            return super().probabilities(batch)

    clock, classifier = StoppedClock(), Slow()
    with pytest.MonkeyPatch.context() as patch:
        for module in ("scheduler", "pipeline"):
            patch.setattr(f"edge_runtime.pipeline.{module}.perf_counter", clock)
        pipeline = Pipeline(
            Pair(), classifier, detect_every=1, scheduler=RoundRobinScheduler()
        )
        answers(pipeline, 6, 0.033)
    assert classifier.batches == [2, 1, 1, 1, 1, 1]


def test_face_that_was_not_classified_gives_no_evidence() -> None:
    dark = np.array([0.9, 0.1], np.float32)
    light = np.array([0.05, 0.95], np.float32)
    labels = []
    for between in (dark, None):
        decisions = TrackDecisions(
            ("dark", "light"), DecisionConfig(dwell_s=0.0, margin=0.0)
        )
        for number, row in enumerate((dark, between, light)):
            sightings = [Observation(1, True, row)]
            found, events = decisions.update(sightings, [], number / 10)
            labels.append((found[0].label, len(events)))
    assert labels[:3] == [("dark", 1), ("dark", 0), ("dark", 0)]
    assert labels[3:] == [("dark", 1), ("dark", 0), ("light", 1)]


def test_face_without_any_probabilities_is_an_error() -> None:
    with pytest.raises(ValueError, match="probabilities first"):
        TrackDecisions(("dark", "light"), DecisionConfig()).update(
            [Observation(1, True, None)], [], 0.0
        )
