"""Frames come from files and cameras, and what is wrong is said in one line."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.cli.run import open_run_source
from edge_runtime.cli.run_options import add_source_options
from edge_runtime.cli.summary import next_steps
from edge_runtime.errors import SourceError
from edge_runtime.sources import open_source
from edge_runtime.sources.base import usable
from edge_runtime.sources.factory import _is_device, display_name
from edge_runtime.sources.opencv import quiet_opencv


def write_video(path: Path, frames: int, *, fps: float = 10.0) -> Path:
    """Writes a 64x48 video whose frames grow brighter by 10 a frame."""
    codec = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), codec, fps, (64, 48))
    for value in range(frames):
        writer.write(np.full((48, 64, 3), value * 10, np.uint8))
    writer.release()
    return path


def write_picture(path: Path, value: int = 100) -> Path:
    cv2.imwrite(str(path), np.full((20, 30, 3), value, np.uint8))
    return path


GOOD = np.zeros((4, 6, 3), np.uint8)


def test_video_yields_all_frames_in_order_with_their_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", 7)
    with open_source(str(path)) as source:
        frames = list(source)
    assert (source.kind, source.fps, source.frame_count) == ("video", 10.0, 7)
    assert [frame.index for frame in frames] == list(range(7))
    assert frames[3].timestamp_s == pytest.approx(0.3)
    assert frames[3].image.shape == (48, 64, 3)
    assert frames[3].name == "clip.mp4"
    means = [frame.image.mean() for frame in frames]
    assert means == sorted(means)


def test_every_keeps_the_frames_own_numbers(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", 8)
    with open_source(str(path), every=3) as source:
        frames = list(source)
    assert [frame.index for frame in frames] == [0, 3, 6]
    assert source.frame_count == 3
    assert source.fps == pytest.approx(10 / 3)
    assert frames[2].image.mean() == pytest.approx(60, abs=4)


def test_folder_is_read_in_the_order_of_names_and_not_below(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "c.bmp", "._a.jpg"):
        write_picture(tmp_path / name.lstrip("._"))
    (tmp_path / "._b.jpg").write_bytes(b"a Mac's own")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "below").mkdir()
    write_picture(tmp_path / "below" / "d.png")
    with open_source(str(tmp_path)) as source:
        assert [frame.name for frame in source] == ["a.jpg", "b.png", "c.bmp"]


def test_folder_has_the_kinds_that_are_learnt_from_and_others_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jpeg = write_picture(tmp_path / "a.jpg").read_bytes()
    for name in ("b.jfif", "c.JPE", "d", "e.jpg.bak", "f.txt", ".hidden.txt"):
        (tmp_path / name).write_bytes(jpeg)
    (tmp_path / "g").write_bytes(b"no picture")
    with open_source(str(tmp_path)) as source:
        assert [frame.name for frame in source] == ["a.jpg", "b.jfif", "c.JPE", "d"]
    assert caplog.messages == [
        "left out 3 files that are not images by their names: e.jpg.bak, f.txt, g"
    ]


@pytest.mark.parametrize("suffix", [".gif", ".avif"])
def test_folder_has_kinds_of_images_that_not_every_opencv_knows(
    tmp_path: Path, suffix: str
) -> None:
    if not cv2.haveImageWriter(suffix):
        pytest.skip(f"this OpenCV ({cv2.__version__}) has no {suffix}")
    write_picture(tmp_path / f"a{suffix}")
    with open_source(str(tmp_path)) as source:
        assert [frame.name for frame in source] == [f"a{suffix}"]


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "colour"])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_picture_of_fewer_bits_than_it_claims_is_named(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    suffix: str,
    channels: tuple[int, ...],
    bits: int,
) -> None:
    shape = (9, 7, *channels)
    deep = np.random.default_rng(0).integers(0, 2**bits, shape, dtype=np.uint16)
    path = tmp_path / f"deep{suffix}"
    cv2.imwrite(str(path), deep)
    with open_source(str(path)) as source:
        (frame,) = source
    assert frame.image.shape == (9, 7, 3)
    seen = frame.image if channels else frame.image[..., 0]
    assert np.array_equal(seen, deep >> 8)
    named = f"{path.name}: 16 bits a pixel, but no value above 32767"
    assert [named in message for message in caplog.messages] == [True] * (bits < 16)


@pytest.mark.parametrize("name", ["face.png", "clip.mp4", "folder"])
def test_what_may_not_be_read_is_not_called_damaged(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.mkdir() if name == "folder" else path.write_bytes(b"")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read all
    refused = pytest.raises(SourceError, match=r"cannot read .*Permission denied")
    with refused, open_source(str(path)):
        pass


def test_unreadable_picture_in_a_folder_is_counted_and_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    (tmp_path / "c.png").write_bytes(b"")
    with open_source(str(tmp_path)) as source:
        assert [frame.index for frame in source] == [0]
    assert source.skipped == 2
    assert "b.png" in caplog.text


def test_grey_image_is_read_as_bgr(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((9, 9), 7, np.uint8))
    with open_source(str(tmp_path / "grey.png")) as source:
        assert next(iter(source)).image.shape == (9, 9, 3)


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("text.mp4", b"hello\n" * 100, "cannot read"),
        ("empty.mp4", b"", "cannot read: empty"),
        ("unknown.xyz", b"\0" * 100, "cannot read"),
        ("text.png", b"hello", "decoded"),
        ("empty.jpg", b"", "decoded"),
        ("page.mp4", b"<!DOCTYPE html>", "web page"),
        ("lfs.avi", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_unreadable_file_is_an_error_without_chatter(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    name: str,
    content: bytes,
    part: str,
) -> None:
    (tmp_path / name).write_bytes(content)
    with (
        pytest.raises(SourceError, match=part),
        open_source(str(tmp_path / name)) as source,
    ):
        list(source)
    assert capfd.readouterr().err == ""


def test_cut_video_and_video_without_a_frame_are_errors(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "clip.mp4", 5).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    write_video(tmp_path / "none.avi", 0)
    for name, reason in (("cut.mp4", "without its index"), ("none.avi", "none.avi")):
        with (
            pytest.raises(SourceError, match=reason),
            open_source(str(tmp_path / name)),
        ):
            pass


@pytest.mark.parametrize(
    "text", ["", "no/such.mp4", "x" * 5000, "ftp://camera/stream", "no*.png"], ids=len
)
def test_what_does_not_exist_is_an_error(text: str) -> None:
    with pytest.raises(SourceError, match="expected"), open_source(text):
        pass


def test_opencv_is_silenced_whichever_version_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FER_EDGE_VERBOSE", raising=False)
    quiet_opencv()
    place = getattr(cv2.utils, "logging", cv2)
    assert place.getLogLevel() == 0


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("rtsp://admin:geheim@cam:554/1", "rtsp://cam:554/..."),
        ("rtsp://admin:ge@heim@cam/1", "rtsp://cam/..."),
        ("rtsp://admin:ge/heim@cam/1", "rtsp://..."),
        ("rtsp://admin:12/geheim@cam/1", "rtsp://..."),
        ("rtsp://admin:ge#heim@cam/1", "rtsp://..."),
        ("rtsp://geheim/heim@cam:554/1", "rtsp://..."),
        ("http://cam/video.cgi?user=admin&pwd=geheim", "http://cam/..."),
        ("http://cam/video.cgi?pwd=a@geheim", "http://..."),
        ("http://cam?pwd=geheim", "http://cam/..."),
        (
            "rtsp://cam:554/user=admin_password=geheim_channel=1_stream=0.sdp",
            "rtsp://cam:554/...",
        ),
        ("http://[fe80::1]:8080/video", "http://[fe80::1]:8080/..."),
        ("http://192.168.1.21:8080", "http://192.168.1.21:8080"),
        ("rtmp://me:geheim@host/live", "rtmp://host/..."),
        ("0", "0"),
        ("shots/*.jpg", "shots/*.jpg"),
    ],
)
def test_name_of_a_source_has_no_secret(address: str, told: str) -> None:
    assert display_name(address) == told


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://geheim:ge/heim@127.0.0.1/1",
        "http://geheim.invalid/?pwd=geheim",
        "rtmp://me:geheim@host/live",
        "http://127.0.0.1:1/pwd=geheim",
    ],
)
def test_error_about_an_address_has_no_secret(address: str) -> None:
    with pytest.raises(SourceError) as caught, open_source(address):
        pass
    assert "geheim" not in str(caught.value).replace("geheim.invalid", "")


def next_step(
    source: str, *, kind: str = "camera", count: int | None = None, **given: Any
) -> str:
    flags: dict[str, Any] = {"model": None, "faces": "auto", "output": None}
    flags |= {"detector_model": None, "privacy": "none", "source": source, "words": []}
    of: Any = SimpleNamespace(kind=kind, frame_count=count)
    return next_steps(argparse.Namespace(**(flags | given)), of)


def test_next_step_of_a_stream_names_no_address() -> None:
    assert "--source SOURCE" in next_step("rtsp://me:geheim@cam/1")
    assert "geheim" not in next_step("rtsp://me:geheim@cam/1")
    assert "--source SOURCE" in next_step("-")


def test_next_step_of_one_picture_is_a_picture() -> None:
    assert "annotated.png" in next_step("a.png", kind="pictures", count=1)
    assert "annotated.mp4" in next_step("folder", kind="pictures", count=2)


def test_next_step_of_a_run_that_blurred_blurs() -> None:
    assert "--privacy blur" in next_step("0", privacy="blur")
    assert "--privacy" not in next_step("0")


def test_next_step_has_the_same_model_and_detector() -> None:
    yunet = {"detector_model": Path("my yunet.onnx")}
    assert " --detector-model 'my yunet.onnx'" in next_step("0", **yunet)
    other = next_step("0", faces="haar", **yunet)  # which does not look at the file
    assert " --faces haar" in other
    assert "yunet" not in other
    assert next_step("0", model=Path("a b/m.tflite")).count(" 'a b/m.tflite'") == 2


def test_pattern_names_pictures_in_order_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/2.png", "b/1.jpg", "3.png"):
        write_picture(tmp_path / name)
    (tmp_path / "b" / "notes.txt").write_text("no picture")
    with open_source(str(tmp_path / "**" / "[12]*")) as source:
        assert [frame.name for frame in source] == ["b/1.jpg", "b/2.png"]
    assert (source.live, source.dropped, source.reopened) == (False, 0, 0)


@pytest.mark.parametrize("pattern", ["**/*.png", "*/0001.png", "?/*"])
def test_pictures_of_one_name_in_two_folders_have_two_names(
    tmp_path: Path, pattern: str
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_picture(tmp_path / folder / "0001.png")
    with open_source(str(tmp_path / pattern)) as source:
        assert [frame.name for frame in source] == ["a/0001.png", "b/0001.png"]


def test_pattern_below_the_present_folder_names_pictures_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    write_picture(tmp_path / "a" / "1.png")
    monkeypatch.chdir(tmp_path)
    with open_source("a/*.png") as source:
        assert [frame.name for frame in source] == ["1.png"]
    with open_source("*/*.png") as source:
        assert [frame.name for frame in source] == ["a/1.png"]


@pytest.mark.parametrize("name", ["shot", "shot.jfif", "shot.mp4", "shot.JPG"])
def test_picture_is_one_whatever_its_name(tmp_path: Path, name: str) -> None:
    picture = write_picture(tmp_path / "face.jpg")
    with open_source(str(picture.rename(tmp_path / name))) as source:
        assert (source.kind, len(list(source))) == ("pictures", 1)


@pytest.mark.parametrize("name", ["clip.jpg", "clip", "clip.bin"])
def test_video_is_one_whatever_its_name(tmp_path: Path, name: str) -> None:
    video = write_video(tmp_path / "clip.avi", 4)
    with open_source(str(video.rename(tmp_path / name))) as source:
        assert (source.kind, len(list(source))) == ("video", 4)


def test_address_of_a_file_is_that_file(tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "my face.png")
    with open_source(picture.as_uri()) as source:
        assert (source.kind, len(list(source))) == ("pictures", 1)


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("/dev/v4l/by-id/usb-046d_HD_Webcam-video-index0", True),
        ("/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0", True),
        ("/dev/gate-camera", True),  # a link of udev's that is not there yet
        ("/dev/null", True),
        ("/dev/shm/clip.mp4", False),
        ("/dev/fd/63", False),
        ("clip.mp4", False),
        ("x" * 5000, False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_names_of_devices(text: str, device: bool) -> None:
    assert _is_device(text) is device


def test_link_to_a_device_is_a_camera(tmp_path: Path) -> None:
    link = tmp_path / "usb-046d_HD_Webcam-video-index0"
    link.symlink_to("/dev/null")
    refused = pytest.raises(SourceError, match=r"expected a camera at .*index0")
    with refused, open_source(str(link)):
        pass


def test_scheme_may_be_in_capitals() -> None:
    refused = pytest.raises(SourceError, match=r"expected a stream at rtsp:.*refused")
    with refused, open_source("RTSP://127.0.0.1:1/x"):
        pass


def test_file_whose_name_looks_like_a_pattern_is_opened(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "face[1].png")
    with open_source(str(path)) as source:
        assert len(list(source)) == 1


def test_frame_of_a_file_has_no_time_of_capture(tmp_path: Path) -> None:
    with open_source(str(write_video(tmp_path / "clip.avi", 2))) as source:
        assert [frame.captured_s for frame in source] == [0.0, 0.0]


def parsed(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_source_options(parser)
    return parser.parse_args(flags)


def test_flags_reach_the_source(tmp_path: Path) -> None:
    flags = ("--source", "fake:scene?clock=virtual", "--size", "64x48", "--fps", "10")
    with open_run_source(parsed(*flags, "--every", "2")) as source:
        frames = iter(source)
        times = [next(frames).timestamp_s for _ in range(3)]
        assert next(frames).image.shape == (48, 64, 3)
    assert (source.fps, times) == (5.0, [0.0, 0.2, 0.4])


@pytest.mark.parametrize(
    "flags",
    [
        ("--size", "640"),
        ("--size", "0x480"),
        ("--fps", "0"),
        ("--fps", "nan"),
        ("--pixel-format", "h264"),
        ("--stall-after", "0"),
        ("--reopen-limit", "-1"),
    ],
    ids=" ".join,
)
def test_flag_out_of_range_is_refused(
    flags: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parsed(*flags)
    assert flags[0] in capsys.readouterr().err


def test_empty_folder_and_folder_of_broken_pictures_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="got none"), open_source(str(tmp_path)):
        pass
    (tmp_path / "a.png").write_bytes(b"broken")
    (tmp_path / "b.png").write_bytes(b"broken")
    with (
        pytest.raises(SourceError, match="decoded"),
        open_source(str(tmp_path)) as source,
    ):
        list(source)


@pytest.mark.parametrize("text", ["97", "/dev/video97"])
def test_absent_camera_is_an_error_soon_and_without_other_output(
    text: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", None)  # asking it would take seconds
    with pytest.raises(SourceError, match="/dev/video97"), open_source(text):
        pass
    assert capfd.readouterr().err == ""


def test_device_that_is_no_camera_is_an_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SourceError, match="/dev/null"), open_source("/dev/null"):
        pass
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("image", "shape"),
    [
        (GOOD, (4, 6, 3)),
        (GOOD[..., 0], (4, 6)),
        (GOOD[..., :1], (4, 6)),
        (GOOD[..., :2], None),
        (GOOD[:0], None),
        (GOOD.astype(np.uint16), None),
        (None, None),
    ],
)
def test_only_images_are_usable(image: object, shape: tuple[int, ...] | None) -> None:
    found = usable(image)
    assert (None if found is None else found.shape) == shape
