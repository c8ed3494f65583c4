"""JPEG pictures are found in a stream of bytes, wherever it is cut and whatever else
is in it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import SourceError
from edge_runtime.sources import CameraSettings, open_source, stdin
from edge_runtime.sources.base import EndOfSource
from edge_runtime.sources.live import LiveSource
from edge_runtime.sources.stdin import (
    MAX_IMAGE_BYTES,
    JpegSplitter,
    PipeReader,
    is_file,
)


def jpeg(value: int, *, quality: int = 95, restart: int = 0) -> bytes:
    """Returns a noisy 40x24 picture."""
    image = np.random.default_rng(value).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_RST_INTERVAL, restart]
    return cv2.imencode(".jpg", image, flags)[1].tobytes()


def with_thumbnail(picture: bytes) -> bytes:
    """Returns the picture with a whole JPEG inside an APP1 segment, as cameras make."""
    thumbnail = jpeg(9, quality=20)
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    return picture[:2] + segment + picture[2:]


PICTURES = (jpeg(1), with_thumbnail(jpeg(2)), jpeg(3, restart=1), jpeg(4, quality=100))


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    splitter, found, at = JpegSplitter(), [], 0
    for cut in [*sorted(one % (len(data) + 1) for one in cuts), len(data)]:
        found += splitter.feed(data[at:cut])
        at = cut
    return found


@given(cuts=st.lists(st.integers(0, 10**6), max_size=8))
@settings(max_examples=60)
def test_pictures_are_the_same_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    between = b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n"
    assert split(between + between.join(PICTURES) + between, cuts) == list(PICTURES)


@given(junk=st.binary(max_size=300), cuts=st.lists(st.integers(0, 9999), max_size=3))
@settings(max_examples=100)
def test_no_bytes_make_it_fail(junk: bytes, cuts: list[int]) -> None:
    split(b"\xff\xd8\xff" + junk, cuts)


@pytest.mark.parametrize("lost", [5, 30, 200, 900])
def test_picture_that_is_cut_off_costs_no_other(lost: int) -> None:
    found = split(PICTURES[0][:-lost] + PICTURES[1] + PICTURES[2], [])
    assert found == [PICTURES[1], PICTURES[2]]


def test_endless_picture_does_not_fill_the_memory() -> None:
    splitter = JpegSplitter()
    head = PICTURES[0][: PICTURES[0].index(b"\xff\xda") + 14]
    list(splitter.feed(head))
    for _ in range(2 * MAX_IMAGE_BYTES // 2**20):
        assert not list(splitter.feed(b"\x55" * 2**20))
    assert len(splitter._buffer) <= MAX_IMAGE_BYTES + 2**20
    assert list(splitter.feed(PICTURES[1])) == [PICTURES[1]]


def test_pipe_yields_its_images_then_ends() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"".join(PICTURES))
    os.close(writing)
    reader = PipeReader(reading)
    assert [reader.read().shape for _ in PICTURES] == [(24, 40, 3)] * 4
    with pytest.raises(EndOfSource):
        reader.read()
    os.close(reading)


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        (b"", "got nothing"),
        (b"RIFF no JPEG at all", r"got something else \(19 bytes\)"),
        (b"\x89PNG\r\n\x1a\n", r"got a PNG file \(8 bytes\)"),
        (PICTURES[0][:200], "got 200 bytes of one that is cut off or damaged"),
        (b"\r\n" + PICTURES[0][:200], "got 202 bytes of one that is cut off"),
    ],
    ids=["nothing", "something else", "PNG", "half a JPEG", "half of one in a stream"],
)
def test_pipe_without_a_picture_is_an_error_with_a_remedy(
    sent: bytes, got: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdin, "_CHUNK_BYTES", 3)  # as a slow sender's
    reading, writing = os.pipe()
    os.write(writing, sent)
    os.close(writing)
    with pytest.raises(SourceError, match=f"{got}.*ffmpeg -i IN"):
        PipeReader(reading).read()
    os.close(reading)


def test_live_pipe_ends_the_run_quietly_when_the_sender_ends() -> None:
    reading, writing = os.pipe()
    reader = PipeReader(reading)

    def send() -> None:
        os.write(writing, b"".join(PICTURES))
        os.close(writing)

    threading.Timer(0.05, send).start()
    source = LiveSource(lambda clock: reader, "-")
    frames = list(source)
    source.close()
    assert frames[-1].index == 3
    assert len(frames) + source.dropped == 4
    os.close(reading)


def test_slow_sender_loses_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()

    def send() -> None:
        for picture in PICTURES:  # each in two halves, with a long pause between them
            os.write(writing, picture[:200])
            time.sleep(1.0)
            os.write(writing, picture[200:])
        os.close(writing)

    sender = threading.Thread(target=send)
    sender.start()
    with os.fdopen(reading) as pipe:
        monkeypatch.setattr("sys.stdin", pipe)
        impatient = CameraSettings(stall_s=0.2, frozen_s=0.2)
        with open_source("-", settings=impatient) as source:
            frames = list(source)
    sender.join()
    assert [frame.index for frame in frames] == list(range(len(PICTURES)))
    assert (source.skipped, source.reopened) == (0, 0)


def test_file_on_a_disk_is_distinguished_from_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "clip.mjpeg"
    path.write_bytes(PICTURES[0])
    with path.open("rb") as file:
        assert is_file(file.fileno())
    reading, writing = os.pipe()
    assert not is_file(reading)
    os.close(reading)
    os.close(writing)
