"""The fake camera does what its script says, the same every time."""

from __future__ import annotations

import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.__main__ import main
from edge_runtime.detection.haar import HaarDetector
from edge_runtime.errors import SourceError
from edge_runtime.sources import CameraSettings, Frame, open_source
from edge_runtime.sources.base import Source, usable
from edge_runtime.sources.fake.camera import corrupt_frame
from edge_runtime.sources.fake.scenes import DrawnScene
from edge_runtime.sources.fake.script import KINDS, Fault, parse_config
from tests.detectors import needs_haar

ALL_FAULTS = (
    "freeze@1s+7s,disconnect@10s+2s,black@14s+3s,garbage@18s+1s,hang@20s+1s,"
    "slow@22s+2s=2,resize@25s+1s=32x24,drop@27s+0.5s"
)


def virtual(script: str = "", *, frames: int = 300, more: str = "") -> str:
    return (
        f"fake:scene?size=64x48&fps=10&frames={frames}&clock=virtual"
        f"&script={script}{more}"
    )


def play(text: str) -> tuple[Source, list[Frame]]:
    with open_source(text) as source:
        return source, list(source)


def test_without_faults_every_frame_arrives_in_time() -> None:
    source, frames = play(virtual(frames=20))
    assert [frame.timestamp_s for frame in frames] == [n / 10 for n in range(20)]
    assert (source.fps, source.dropped, source.reopened) == (10, 0, 0)
    assert frames[0].image.shape == (48, 64, 3)


def test_same_script_and_seed_give_the_same_frames() -> None:
    text = virtual(ALL_FAULTS)
    first_source, first = play(text)
    second_source, second = play(text)
    assert [(one.index, one.timestamp_s) for one in first] == [
        (one.index, one.timestamp_s) for one in second
    ]
    assert all(
        np.array_equal(one.image, other.image)
        for one, other in zip(first, second, strict=True)
    )
    assert first_source.reopened == second_source.reopened > 0
    other_seed = play(text + "&seed=2")[1]
    assert not np.array_equal(first[0].image, other_seed[0].image)


def test_freeze_is_noticed_and_ends_when_the_camera_moves_again() -> None:
    source, frames = play(virtual("freeze@1s+7s"))
    still = [f for f in frames if np.array_equal(f.image, frames[10].image)]
    # From 1 s on, opened again after 5 s and once more later: gone at 8 s.
    assert still[0].timestamp_s == 1.0
    assert 7.5 <= still[-1].timestamp_s < 8.0
    assert source.reopened == 1


def test_disconnected_camera_is_back_soon_after_it_returns() -> None:
    source, frames = play(virtual("disconnect@3s+4s"))
    times = np.array([frame.timestamp_s for frame in frames])
    gap = int(np.diff(times).argmax())
    assert times[gap] == 2.9
    assert 7.0 <= times[gap + 1] <= 9.0
    assert source.reopened == 1


def test_black_camera_is_not_opened_again() -> None:
    source, frames = play(virtual("black@1s+20s"))
    assert sum(not frame.image.any() for frame in frames) == 200
    assert source.reopened == 0


def test_garbage_and_drops_are_counted_and_never_become_frames() -> None:
    source, frames = play(virtual("garbage@1s+1s,drop@3s+1s"))
    assert all(usable(frame.image) is not None for frame in frames)
    assert source.skipped >= 10
    assert len(frames) + source.skipped == 300


def test_slow_camera_that_gives_nothing_is_lost_after_the_time_for_a_stall() -> None:
    slow = "fake:scene?size=64x48&fps=2&frames=40&clock=virtual&script=drop@2s+8s"
    source, frames = play(slow)
    assert source.reopened == 1  # 16 pictures are not enough to be lost by their number
    assert 10 <= frames[4].timestamp_s < 12


def test_resized_camera_gives_the_new_size_for_a_while() -> None:
    _, frames = play(virtual("resize@1s+1s=32x24", frames=30))
    shapes = [frame.image.shape for frame in frames]
    assert shapes == [(48, 64, 3)] * 10 + [(24, 32, 3)] * 10 + [(48, 64, 3)] * 10


def test_slow_camera_gives_fewer_pictures() -> None:
    _, frames = play(virtual("slow@1s+2s=2", frames=40))
    assert [f.timestamp_s for f in frames if 1 <= f.timestamp_s < 3] == [1, 1.5, 2, 2.5]


def test_script_repeats() -> None:
    _, frames = play(virtual("black@1s+0.5s", frames=90, more="&repeat=3"))
    black = [frame.timestamp_s for frame in frames if not frame.image.any()]
    assert black == [n + k / 10 for n in (1, 4, 7) for k in range(5)]


def test_real_clock_gives_the_rate_and_drops_for_a_slow_loop() -> None:
    started = time.monotonic()
    with open_source("fake:scene?size=64x48&fps=50&frames=25") as source:
        for _ in source:
            time.sleep(0.05)
    assert time.monotonic() - started > 0.4
    assert source.live
    assert source.dropped >= 8


def test_hang_on_the_real_clock_is_left_and_recovered_from() -> None:
    settings = CameraSettings(stall_s=1.5)
    text = "fake:scene?size=64x48&fps=20&frames=80&script=hang@0.3s+3s"
    with open_source(text, settings=settings) as source:
        frames = list(source)
    assert source.reopened == 1
    assert frames[-1].timestamp_s > 1.0


@needs_haar
@pytest.mark.parametrize("seed", range(3))
def test_drawn_faces_are_faces_to_the_haar_cascade(seed: int) -> None:
    scene = DrawnScene((320, 240), 30, faces=2, seed=seed)
    detector = HaarDetector()
    for number in range(0, 600, 150):
        assert len(detector.detect(scene.render(number))) == 2


def test_video_plays_again_and_again(tmp_path: Path) -> None:
    path = str(tmp_path / "clip.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for value in range(5):
        writer.write(np.full((48, 64, 3), 50 * value, np.uint8))
    writer.release()
    _, frames = play(f"fake:{path}?fps=10&frames=12&clock=virtual")
    means = [round(float(frame.image.mean()) / 50) for frame in frames]
    assert means == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]


def test_still_picture_has_noise_and_so_is_not_frozen(tmp_path: Path) -> None:
    path = str(tmp_path / "face.png")
    cv2.imwrite(path, DrawnScene((64, 48), 30).render(0))
    source, frames = play(f"fake:{path}?size=32x24&fps=10&frames=100&clock=virtual")
    assert (source.reopened, len(frames)) == (0, 100)
    assert frames[0].image.shape == (24, 32, 3)


def test_garbage_is_of_every_kind() -> None:
    kinds = [corrupt_frame(1, number) for number in range(60)]
    assert any(one is None for one in kinds)
    assert any(usable(one) is not None for one in kinds)
    assert any(isinstance(one, bytes) for one in kinds)


def test_script_is_understood() -> None:
    text = "fake:scene?size=320x240&seed=7&script=freeze@2s+3s,slow@9=0.5"
    plan = parse_config(text, CameraSettings(size_wh=(1, 1), fps=12))
    assert (plan.size_wh, plan.fps, plan.seed) == ((320, 240), 12, 7)
    assert plan.faults[0] == Fault("freeze", 2.0, 3.0)
    assert (plan.faults[1].fps, plan.faults[1].length_s) == (0.5, float("inf"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_fault_can_be_written(kind: str) -> None:
    (fault,) = parse_config(f"fake:scene?script={kind}@1+2", CameraSettings()).faults
    assert fault.kind == kind


@pytest.mark.parametrize(
    "options",
    [
        "rate=3",
        "fps",
        "fps=fast",
        "fps=0",
        "size=640",
        "size=99999x99999",
        "seed=-1",
        "frames=0",
        "clock=sundial",
        "repeat=0",
        "script=explode@1s",
        "script=freeze",
        "script=freeze@-1s",
        "script=freeze@1s=3",
        "script=resize@1s=big",
        "script=slow@1s=0",
    ],
)
def test_what_cannot_be_understood_is_an_error_with_an_example(options: str) -> None:
    with pytest.raises(SourceError, match="as in  'fake:scene"):
        parse_config(f"fake:scene?{options}", CameraSettings())


def test_absent_or_broken_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    for text in ("fake:no/such.mp4", f"fake:{tmp_path / 'a.png'}"):
        with pytest.raises(SourceError, match="fake camera"), open_source(text):
            pass


def test_same_script_and_seed_give_the_same_answers_line_for_line(
    tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = virtual("freeze@1s+6s,disconnect@8s+1s,garbage@11s+1s", frames=130)
    command = ["run", str(tiny_model_path), "--source", text, "--faces", "none"]

    def answers() -> list[dict[str, object]]:
        assert main([*command, "--json"]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return [{k: v for k, v in line.items() if "_ms" not in k} for line in lines]

    first = answers()
    assert len(first) > 90
    assert first == answers()
