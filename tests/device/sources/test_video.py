"""Videos that are damaged, cut off, or of a variable frame rate."""

from __future__ import annotations

import logging
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.outputs.video import open_output
from edge_runtime.sources import Frame, open_source
from edge_runtime.sources.base import Source
from edge_runtime.sources.video import MAX_UNREADABLE, _Timeline

FRAMES, FPS = 12, 10.0


def noise_video(path: Path) -> Path:
    codec = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), codec, FPS, (64, 48))
    noise = np.random.default_rng(1).integers(0, 255, (FRAMES, 48, 64, 3), np.uint8)
    for image in noise:
        writer.write(image)
    writer.release()
    return path


def damage(path: Path, *numbers: int) -> None:
    """Overwrites the JPEG images of an AVI that have these numbers."""
    data = bytearray(path.read_bytes())
    at = data.index(b"movi")
    for number in range(FRAMES):
        at = data.index(b"00dc", at) + 4
        size = int.from_bytes(data[at : at + 4], "little")
        if number in numbers:
            data[at + 4 : at + 4 + size] = b"\x55" * size
        at += 4 + size
    path.write_bytes(data)


def read(path: Path, every: int = 1) -> tuple[Source, list[Frame]]:
    with open_source(str(path), every=every) as source:
        return source, list(source)


@pytest.mark.parametrize(
    "bad",
    [(3,), (0,), (4, 5, 6), (0, 1, 5, 9)],
    ids=lambda bad: "-".join(map(str, bad)),
)
def test_damaged_frames_are_counted_and_the_others_are_read(
    tmp_path: Path,
    bad: tuple[int, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = noise_video(tmp_path / "clip.avi")
    damage(path, *bad)
    source, frames = read(path)
    good = [number for number in range(FRAMES) if number not in bad]
    assert [frame.index for frame in frames] == good
    assert source.skipped == len(bad)
    assert [frame.timestamp_s for frame in frames] == pytest.approx(
        [number / FPS for number in good]
    )
    assert caplog.text.count("could not be decoded") == 1


def test_ffmpeg_says_nothing_about_damaged_frames(tmp_path: Path) -> None:
    path = noise_video(tmp_path / "clip.avi")
    damage(path, 2, 3)
    code = "import sys; from edge_runtime.sources import open_source\n"
    code += "with open_source(sys.argv[1]) as source: print(len(list(source)))"
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{FRAMES - 2}\n"
    assert done.stderr.splitlines() == [
        f"{path}: 2 frames could not be decoded: the file is damaged"
    ]


def test_video_of_a_phone_is_upright(tmp_path: Path) -> None:
    path = noise_video(tmp_path / "clip.mp4")
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44  # ISO/IEC 14496-12: of an upright track
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    assert data[matrix : matrix + 36] == upright
    by_90 = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)
    data[matrix : matrix + 36] = by_90
    _, before = read(path)
    path.write_bytes(data)
    _, frames = read(path)
    assert np.array_equal(frames[0].image, np.rot90(before[0].image, -1))


def test_rate_that_is_that_of_the_files_clock_is_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = noise_video(tmp_path / "clip.avi")  # as Chromium's MediaRecorder says it
    data = path.read_bytes()
    rate = data.index(b"vids") + 20  # AVISTREAMHEADER: dwScale, dwRate, then the length
    assert struct.unpack_from("<II", data, rate) == (1, 10)
    path.write_bytes(
        data[:rate] + struct.pack("<IIII", 1, 1000, 0, 1200) + data[rate + 16 :]
    )
    source, frames = read(path)
    assert len(frames) == FRAMES
    assert (source.fps, source.frame_count) == (25.0, None)
    assert not caplog.text


def test_every_goes_on_behind_a_damaged_frame(tmp_path: Path) -> None:
    path = noise_video(tmp_path / "clip.avi")
    damage(path, 4)
    source, frames = read(path, every=2)
    assert [frame.index for frame in frames] == [0, 2, 5, 7, 9, 11]
    assert source.skipped == 1


def test_video_of_which_no_frame_is_readable_is_an_error_soon(tmp_path: Path) -> None:
    path = noise_video(tmp_path / "clip.avi")
    damage(path, *range(FRAMES))
    with pytest.raises(Exception, match="has no frame"), open_source(str(path)):
        pass
    assert MAX_UNREADABLE > FRAMES


def test_video_that_ends_too_early_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = noise_video(tmp_path / "clip.avi")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    _, frames = read(path)
    assert 0 < len(frames) < FRAMES - 2
    assert f"promises {FRAMES} frames, it ends after" in caplog.text


@pytest.mark.parametrize("name", ["clip.avi", "clip.mp4"])
def test_whole_video_logs_nothing(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    source, frames = read(noise_video(tmp_path / name))
    assert (len(frames), source.skipped, caplog.text) == (FRAMES, 0, "")


def with_intervals(data: bytes, runs: list[tuple[int, float]]) -> bytes:
    """Returns an MP4 whose frames last so long: (frames, seconds) of each run.

    The index is at the end of what OpenCV writes, so that no offset changes.
    """
    moov = data.index(b"moov") - 4
    head, index = data[:moov], bytearray(data[moov:]).replace(b"edts", b"free")
    scale = int.from_bytes(index[index.index(b"mdhd") + 16 :][:4], "big")
    old = index.index(b"stts") - 4
    size = int.from_bytes(index[old : old + 4], "big")
    entries = [struct.pack(">II", n, round(scale * seconds)) for n, seconds in runs]
    box = struct.pack(">I4sII", 16 + 8 * len(runs), b"stts", 0, len(runs))
    box += b"".join(entries)
    index[old : old + size] = box
    for parent in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        at = index.index(parent) - 4
        longer = int.from_bytes(index[at : at + 4], "big") + len(box) - size
        index[at : at + 4] = longer.to_bytes(4, "big")
    return head + bytes(index)


@pytest.mark.parametrize(
    "runs",
    [
        [(4, 1.0), (8, 0.1)],  # a motion recorder
        [(6, 0.1), (1, 3.0), (5, 0.1)],  # a pause
        [(12, 0.5)],
    ],
    ids=["slow-fast", "pause", "slow"],
)
@pytest.mark.parametrize("every", [1, 3])
def test_frames_have_the_containers_own_times(
    tmp_path: Path, runs: list[tuple[int, float]], every: int
) -> None:
    path = noise_video(tmp_path / "clip.mp4")
    path.write_bytes(with_intervals(path.read_bytes(), runs))
    lasts = [seconds for count, seconds in runs for _ in range(count)]
    starts = np.concatenate([[0.0], np.cumsum(lasts)[:-1]])
    _, frames = read(path, every)
    assert len(frames) == len(starts[::every])
    times = [frame.timestamp_s for frame in frames]
    assert times == pytest.approx(starts[::every].tolist(), abs=2e-3)


@pytest.mark.parametrize(
    ("positions", "times"),
    [
        ([0.0, 0.0, 0.0], [0.0, 0.1, 0.2]),  # a stream without times
        ([0.0, 0.1, -5.0, -4.5], [0.0, 0.1, 0.2, 0.7]),  # two recordings in a row
        ([7.0, 7.5], [0.0, 0.5]),
        ([float("nan"), float("inf"), float("nan")], [0.0, 0.1, 0.2]),
        ([-3.7e17, -3.7e17, -3.7e17], [0.0, 0.1, 0.2]),
    ],
    ids=["none", "back", "late", "not finite", "huge"],
)
def test_time_only_grows(positions: list[float], times: list[float]) -> None:
    timeline, found = _Timeline(10.0), []
    for index, position in enumerate(positions):
        timeline.move(position, index)
        found.append(timeline.now_s)
    assert found == pytest.approx(times)


@pytest.mark.parametrize(
    ("runs", "fps"),
    [([(4, 1.0), (8, 0.1)], 10.0), ([(12, 0.1)], 10.0), ([(12, 0.033)], 30.3)],
    ids=["slow-fast", "constant", "constant-fast"],
)
def test_peak_rate_is_that_of_the_fastest_part(
    tmp_path: Path, runs: list[tuple[int, float]], fps: float
) -> None:
    path = noise_video(tmp_path / "clip.mp4")
    path.write_bytes(with_intervals(path.read_bytes(), runs))
    with open_source(str(path)) as source:
        assert source.peak_fps == pytest.approx(fps, rel=0.01)


def test_annotated_video_of_a_variable_rate_keeps_its_times(tmp_path: Path) -> None:
    path = noise_video(tmp_path / "clip.mp4")
    runs = [(4, 1.0), (8, 0.1)]
    path.write_bytes(with_intervals(path.read_bytes(), runs))
    source, frames = read(path)
    with open_output(tmp_path / "out.avi", source) as write:
        for frame in frames:
            write(np.full((48, 64, 3), 20 * frame.index, np.uint8), frame.timestamp_s)
    written, annotated = read(tmp_path / "out.avi")
    shown = [round(frame.image.mean() / 20) for frame in annotated]
    assert written.fps == 10.0
    assert shown == [0] * 10 + [1] * 10 + [2] * 10 + [3] * 10 + list(range(4, 12))
