"""Files that are not what their first bytes or their names suggest."""

from __future__ import annotations

import logging
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import OutputError, SourceError
from edge_runtime.outputs.video import check_output
from edge_runtime.sources import open_source
from tests.conftest import ROOT
from tests.device.sources.test_sources import write_picture, write_video


def noise(number: int, suffix: str) -> bytes:
    image = np.random.default_rng(number).integers(0, 255, (24, 32, 3), np.uint8)
    return bytes(cv2.imencode(suffix, image)[1])


def chunks_of(png: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def animated_png(pictures: int = 3) -> bytes:
    """Returns an APNG (PNG 3rd edition, section 11.3.6)."""
    parts, sequence = [b"\x89PNG\r\n\x1a\n"], 0

    def add(name: bytes, data: bytes) -> None:
        crc = zlib.crc32(name + data)
        parts.append(struct.pack(">I", len(data)) + name + data)
        parts.append(struct.pack(">I", crc))

    for number in range(pictures):
        for name, data in chunks_of(noise(number, ".png")):
            if name == b"IHDR" and number == 0:
                add(name, data)
                add(b"acTL", struct.pack(">II", pictures, 0))
            if name == b"IHDR":
                shape = struct.pack(">IIIII", sequence, 32, 24, 0, 0)
                add(b"fcTL", shape + struct.pack(">HHBB", 1, 10, 0, 0))
                sequence += 1
            elif name == b"IDAT" and number == 0:
                add(name, data)
            elif name == b"IDAT":
                add(b"fdAT", struct.pack(">I", sequence) + data)
                sequence += 1
    add(b"IEND", b"")
    return b"".join(parts)


@pytest.mark.parametrize("name", ["clip.mjpeg", "clip.mjpg", "clip", "clip.bin"])
def test_jpeg_images_one_after_the_other_are_a_video(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"".join(noise(number, ".jpg") for number in range(5)))
    with open_source(str(path)) as source:
        assert (source.kind, len(list(source))) == ("video", 5)


@pytest.mark.parametrize("name", ["clip.mjpeg", "clip.MJPG"])
def test_video_that_has_no_times_is_told(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / name
    path.write_bytes(b"".join(noise(number, ".jpg") for number in range(5)))
    with open_source(str(path)) as source:
        assert source.fps == 25.0
    assert "has no times, 25 frames a second" in caplog.text


@pytest.mark.parametrize("name", ["face.jpg", "face.JPEG", "face"])
@pytest.mark.parametrize("after", [b"", b"\0\0\0\x18ftypmp42" + bytes(200)])
def test_jpeg_of_a_phone_with_more_behind_it_is_a_picture(
    tmp_path: Path, name: str, after: bytes
) -> None:
    behind = noise(2, ".jpg") if "." in name and not after else after
    path = tmp_path / name
    path.write_bytes(noise(1, ".jpg") + behind)
    with open_source(str(path)) as source:
        assert (source.kind, len(list(source))) == ("pictures", 1)


@pytest.mark.parametrize("name", ["moving.png", "moving.apng", "moving"])
def test_animated_png_is_a_video(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(animated_png())
    with open_source(str(path)) as source:
        assert (source.kind, len(list(source))) == ("video", 3)


def test_animation_among_pictures_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.png").write_bytes(animated_png())
    write_picture(tmp_path / "b.png")
    with open_source(str(tmp_path)) as source, caplog.at_level(logging.WARNING):
        assert len(list(source)) == 2
    assert caplog.messages == ["a.png: an animation: its first picture is used"]


def test_webp_that_is_an_animation_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    still = noise(1, ".webp")[12:]
    flags = bytes((0b10, 0, 0, 0)) + bytes((31, 0, 0, 23, 0, 0))
    body = b"WEBPVP8X" + struct.pack("<I", 10) + flags
    body += b"ANIM" + struct.pack("<I", 6) + bytes(6)
    frame = bytes((0, 0, 0, 0, 0, 0, 31, 0, 0, 23, 0, 0, 100, 0, 0, 0)) + still
    body += (b"ANMF" + struct.pack("<I", len(frame)) + frame) * 2
    path = tmp_path / "moving.webp"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    with open_source(str(path)) as source, caplog.at_level(logging.WARNING):
        try:
            assert len(list(source)) == 1
        except SourceError:
            pytest.skip(f"OpenCV {cv2.__version__} reads no animated WebP")
    assert "an animation" in caplog.text


@pytest.mark.parametrize(
    "name", ["2026-01-01T10:00:00.avi", "concat:a|b.avi", "http:x.avi", "pipe:0.avi"]
)
def test_name_with_a_colon_is_a_name(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "clip.avi", 4).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with open_source(name) as source:
        assert source.peak_fps == 10
        assert (source.kind, len(list(source))) == ("video", 4)


@pytest.mark.parametrize("pattern", [False, True])
def test_folder_of_videos_is_named_as_one(tmp_path: Path, pattern: bool) -> None:
    write_video(tmp_path / "clip.avi", 2)
    source = str(tmp_path / "*.avi") if pattern else str(tmp_path)
    with (
        pytest.raises(SourceError, match=r"clip\.avi; a video is given by itself"),
        open_source(source),
    ):
        pass


@pytest.mark.parametrize(
    ("source", "way_out"),
    [
        ("rtmp://me:s3cret@host/live", "ffmpeg -i ADDRESS -f mjpeg"),
        ("udp://@:5000", "ffmpeg -i ADDRESS -f mjpeg"),
        ("~/clip.mp4", "the whole path"),
        ("192.168.1.20:8080/video", r"http://192\.168\.1\.20:8080/video"),
        (" rtsp://me:s3cret@127.0.0.1:1/live\n", "camera is on, and the port"),
        ('"<http://127.0.0.1:1/live>"', "camera is on, and the port"),
    ],
)
def test_what_is_no_source_has_a_way_out(source: str, way_out: str) -> None:
    with pytest.raises(SourceError, match=way_out) as caught, open_source(source):
        pass
    assert "s3cret" not in str(caught.value)


def test_links_that_lead_round_in_a_circle_are_no_traceback(tmp_path: Path) -> None:
    loop = tmp_path / "loop.avi"
    loop.symlink_to(loop)
    with pytest.raises(SourceError, match="does not exist"), open_source(str(loop)):
        pass
    with pytest.raises(OutputError, match="same file"):
        check_output(loop, str(loop), force=True)


def test_video_that_is_cut_off_while_it_is_written_is_refused(tmp_path: Path) -> None:
    """As by the 4 GiB of FAT32: OpenCV reports nothing, and an MP4 has no index."""
    pytest.importorskip("resource")
    video = write_video(tmp_path / "clip.avi", 9)
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from edge_runtime.outputs.video import open_output\n"
        "from edge_runtime.sources import open_source\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))\n"
        "with open_source(sys.argv[1]) as source:\n"
        "    with open_output(Path(sys.argv[2]), source) as write:\n"
        "        for frame in source:\n"
        "            write(frame.image, None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(video), str(tmp_path / "out.mp4")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "could not be written to its end" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["clip.avi"]
