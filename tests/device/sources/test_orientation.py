"""Frames of a camera that hangs on its side, upside down or in a mirror."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.pipeline.measure import read_images
from edge_runtime.__main__ import main
from edge_runtime.cli import tune
from edge_runtime.errors import FerEdgeError
from edge_runtime.pipeline.tuning import Setting
from edge_runtime.sources import Frame, open_source
from edge_runtime.sources.orientation import ROTATIONS, Rotation

IMAGE = np.zeros((4, 6, 3), np.uint8)
IMAGE[0, 1] = (10, 20, 30)


@pytest.mark.parametrize(
    ("rotate", "hflip", "shape", "where"),
    [
        (0, False, (4, 6), (0, 1)),
        (90, False, (6, 4), (1, 3)),
        (180, False, (4, 6), (3, 4)),
        (270, False, (6, 4), (4, 0)),
        (0, True, (4, 6), (0, 4)),
        (180, True, (4, 6), (3, 1)),
        (90, True, (6, 4), (1, 0)),
    ],
)
@pytest.mark.parametrize("grey", [False, True])
def test_frames_are_turned_and_then_mirrored(
    tmp_path: Path,
    rotate: Rotation,
    hflip: bool,
    shape: tuple[int, int],
    where: tuple[int, int],
    grey: bool,
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), IMAGE[..., 0] if grey else IMAGE)
    with open_source(str(tmp_path), rotate=rotate, hflip=hflip) as source:
        (frame,) = source
    assert frame.image.shape[:2] == shape
    assert frame.image[where].any()
    assert np.count_nonzero(frame.image.any(axis=-1)) == 1
    assert (source.kind, source.frame_count, frame.name) == ("pictures", 1, "a.png")


def test_camera_that_is_turned_is_a_camera() -> None:
    text = "fake:scene?size=64x48&frames=3&clock=virtual"
    with open_source(text, rotate=90) as source:
        frames = list(source)
    assert (source.kind, source.live, source.reopened) == ("camera", False, 0)
    assert [frame.image.shape for frame in frames] == [(64, 48, 3)] * 3


def test_counters_are_those_of_the_camera() -> None:
    text = "fake:scene?frames=90&clock=virtual&script=disconnect@1s+1s"
    with open_source(text) as plain, open_source(text, rotate=180) as turned:
        for _ in zip(plain, turned, strict=True):
            pass
        for name in ("fps", "peak_fps", "lost", "skipped", "dropped", "reopened"):
            assert getattr(turned, name) == getattr(plain, name)
        assert turned.reopened == 1


@pytest.mark.parametrize("given", ["45", "-90", "left"])
def test_other_angles_are_refused(
    given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--rotate", given])
    assert "--rotate" in capsys.readouterr().err
    assert ROTATIONS == (0, 90, 180, 270)


def test_output_is_upright(tiny_model_path: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((100, 160, 3), np.uint8))
    command = ["run", str(tiny_model_path), "--source", str(tmp_path / "a.png")]
    command += ["--faces", "none", "--rotate", "270"]
    assert main([*command, "--output", str(tmp_path / "b.png")]) == 0
    assert cv2.imread(str(tmp_path / "b.png")).shape == (160, 100, 3)


@pytest.mark.parametrize(
    ("rotate", "hflip"), [(0, True), (90, False), (180, True), (270, False)]
)
def test_what_is_measured_is_turned_as_in_run(
    tmp_path: Path, rotate: Rotation, hflip: bool
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), IMAGE)
    (measured,), _ = read_images(str(tmp_path), 1, rotate=rotate, hflip=hflip)
    with open_source(str(tmp_path), rotate=rotate, hflip=hflip) as source:
        (frame,) = source
    np.testing.assert_array_equal(measured, frame.image)


def test_tune_takes_the_flags_of_run(
    tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((100, 160, 3), np.uint8))
    shapes: list[tuple[int, ...]] = []

    def timed(*_: object, frames: list[Frame], **__: object) -> list[Setting]:
        shapes.extend(frame.image.shape[:2] for frame in frames)
        raise FerEdgeError("enough")

    monkeypatch.setattr(tune, "time_settings", timed)
    command = ["tune", str(tiny_model_path), "--frames", str(tmp_path / "a.png")]
    assert main([*command, "--rotate", "90", "--force"]) == 2
    assert shapes == [(160, 100)]
