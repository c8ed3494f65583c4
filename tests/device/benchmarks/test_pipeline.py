"""The pipeline benchmark: replayed frames, their age, and the command."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.pipeline import frame_age, start_up
from benchmarks.pipeline.frame_age import (
    RecordedResult,
    age_figures,
    classified_figures,
    measure_age,
)
from benchmarks.pipeline.replay import ImageReader, replay
from edge_runtime.preprocessing import Image
from edge_runtime.results import FrameResult
from edge_runtime.sources import Frame
from edge_runtime.sources.base import EndOfSource, VirtualClock
from tests.detectors import SOME_DETECTOR


@pytest.fixture(autouse=True)
def short_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_age, "TRIAL_S", 0.2)
    monkeypatch.setattr(start_up, "REPEATS", 1)


def numbered(count: int) -> list[Image]:
    return [np.full((24, 32, 3), number, np.uint8) for number in range(count)]


def test_replay_moves_as_fast_at_any_rate() -> None:
    for fps, expected in ((10.0, [0, 3, 6]), (90.0, [0, 0, 0, 1, 1, 1, 2, 2, 2])):
        reader = ImageReader(
            numbered(9), fps, VirtualClock(), recorded_fps=30, endless=False
        )
        shown = [int(reader.read()[0, 0, 0]) for _ in range(len(expected))]
        assert shown == expected
    with pytest.raises(EndOfSource):
        for _ in range(99):
            reader.read()


def test_replay_is_a_live_source_in_real_time() -> None:
    with replay(numbered(12), 30, recorded_fps=30, endless=False) as source:
        frames = list(source)
    assert source.live
    assert [frame.index for frame in frames] == [int(f.image[0, 0, 0]) for f in frames]
    assert frames[-1].timestamp_s > 0.9 * 11 / 30  # how much later is up to the machine


class Sleeping:
    """A pipeline that takes its time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def process(self, frame: Frame) -> FrameResult:
        time.sleep(self._seconds)
        age_ms = 1000 * (time.monotonic() - frame.captured_s)
        return FrameResult(
            frame.index, frame.timestamp_s, "", (), 0.0, 0.0, age_ms=age_ms
        )

    def close(self) -> None:
        """Does nothing."""


def test_age_is_measured_with_a_faster_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_age, "_period_s", lambda *_: 0.02)
    found = measure_age(
        numbered(30), lambda: Sleeping(0.02), recorded_fps=30, seconds=0.5
    )
    assert found["camera_fps"] == frame_age.CAMERA_OVER_PIPELINE / 0.02
    assert found["dropped"] > 0
    given = found["answers"] + found["dropped"]
    assert found["camera_over_pipeline"] == given / found["answers"]
    assert found["answers"] >= frame_age.LEAST_RESULTS
    assert found["period_ms"] >= 20
    assert found["age_p50_ms"] >= 20
    assert found["age_periods"] == found["age_p95_ms"] / found["period_ms"]


def test_age_is_given_in_mean_periods_and_in_each_frames_own() -> None:
    # Every other frame takes three times as long, each as old as 1.2 of its periods.
    times_s = np.cumsum([0.0, *[0.01, 0.03] * 50])
    ages_ms = [99.0, *[12.0, 36.0] * 50]
    found = age_figures(ages_ms, times_s)
    assert found["age_periods"] == pytest.approx(36 / 20)
    assert found["age_own_periods"] == pytest.approx(1.2)
    queued = age_figures([age + 20 for age in ages_ms], times_s)
    assert queued["age_own_periods"] == pytest.approx(3.2)


def test_age_of_a_label_counts_from_the_frame_it_is_of() -> None:
    # Of three frames, each 10 ms old, the second has a face with an earlier label.
    faces = [(0.0,), (0.0, 30.0), ()]
    found = classified_figures(
        [RecordedResult(10.0, 0.0, behind_ms) for behind_ms in faces]
    )
    assert found["classified_share"] == pytest.approx(2 / 3)
    assert found["classified_share_of_several"] == 0.5
    assert found["faceless_share"] == pytest.approx(1 / 3)
    assert found["classified_age_p50_ms"] == pytest.approx(10)
    assert found["classified_age_p95_ms"] == pytest.approx(10 + 0.9 * 30)
    assert found["longest_kept_ms"] == 30
    nobody = classified_figures([RecordedResult(10.0, 0.0, ())])
    assert nobody.pop("faceless_share") == 1
    assert set(nobody.values()) == {None}


def test_command_measures_rate_age_and_start_up(
    tiny_model_path: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "rate.json"
    source = "fake:scene?size=160x120&clock=virtual"
    argv = ["pipeline", str(tiny_model_path), "--source", source, "--frames", "45"]
    assert (
        main(
            [*argv, "--faces", SOME_DETECTOR, "--age-seconds", "1", "--json", str(out)]
        )
        == 0
    )
    document = json.loads(out.read_text())
    assert document["schema"] == "fer-edge/frame-rate/1"
    assert document["source"]["frames"] == 45
    assert document["source"]["size_wh"] == [160, 120]
    assert document["rate"]["blocks"] == 2
    assert document["age"]["answers"] >= frame_age.LEAST_RESULTS
    assert document["start_up"]["first_label_ms"] > 0
    shown = capsys.readouterr().out
    for part in ("frames/s", "frame age", "to the first label", "measurement "):
        assert part in shown


def test_regions_are_what_is_measured(tiny_model_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "rate.json"
    source = "fake:scene?size=160x120&clock=virtual"
    regions = ["--roi", "a=0,0,50%,100%", "--roi", "b=50%,0,50%,100%"]
    argv = ["pipeline", str(tiny_model_path), "--source", source, "--frames", "45"]
    argv += ["--faces", "none", "--age-seconds", "1", "--json", str(out)]
    assert main([*argv, *regions]) == 0
    document = json.loads(out.read_text())
    assert document["source"]["regions"] == ["a=0,0,50%,100%", "b=50%,0,50%,100%"]
    assert document["rate"]["faces"] == 2


def test_too_few_frames_are_one_error(tiny_model_path: Path, capsys) -> None:
    argv = ["pipeline", str(tiny_model_path), "--frames", "10", "--faces", "none"]
    assert main(argv) == 4
    assert "expected at least 40 frames, got 10" in capsys.readouterr().err
