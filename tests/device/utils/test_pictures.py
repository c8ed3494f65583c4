"""The size of a picture is known before a pixel is decoded, and bounded everywhere."""

import io
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.utils.picture_kinds import START_BYTES, picture_kind, why_unreadable
from edge_runtime.utils.pictures import (
    MAX_PIXELS,
    decode_picture,
    picture_size,
    too_many_pixels,
)

IMAGE = np.random.default_rng(0).integers(0, 255, (37, 53, 3), dtype=np.uint8)
KINDS = ("jpg", "png", "bmp", "webp", "tiff", "ppm", "pgm", "pbm", "gif", "avif")


def encoded(kind, image=IMAGE, *flags):
    """Returns a picture file; skips where this OpenCV does not write the kind."""
    grey = kind in ("pgm", "pbm")
    try:
        done, data = cv2.imencode(f".{kind}", image[..., 0] if grey else image, flags)
    except cv2.error:
        done = False
    if not done:
        pytest.skip(f"this OpenCV writes no {kind}")
    return data.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_size_is_that_of_the_decoded_picture(kind):
    data = encoded(kind)
    assert picture_size(data) == (53, 37)
    assert decode_picture(data).shape == (37, 53, 3)


@pytest.mark.parametrize("major", [b"mif1", b"miaf", b"avis", b"MA1B"])
def test_avif_may_call_itself_something_else_first(tmp_path, major):
    """As files of several encoders and cameras do."""
    data = encoded("avif")
    data = data[:8] + major + data[12:]
    assert picture_size(data) == (53, 37)
    assert picture_kind(data[:START_BYTES]) == "AVIF"
    assert "AVIF" in why_unreadable(data[:900], "")
    if major != b"avis":  # then there has to be a sequence inside
        assert decode_picture(data).shape == (37, 53, 3)


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"\0\0\0\x18ftypmif1\0\0\0\0mif1heicavif",  # the last is of the next box
        b"\0\0\0\x18ftypmif1\0\0",
        b"\xff\xff\xff\xffftypmif1\0\0\0\0" + bytes(300) + b"avif",
    ],
)
def test_heic_is_no_avif(data):
    assert picture_kind(data) == "HEIC"
    assert picture_size(data) is None


def test_lossy_webp_and_progressive_jpeg_have_a_size():
    assert picture_size(encoded("webp", IMAGE, cv2.IMWRITE_WEBP_QUALITY, 50)) == (
        53,
        37,
    )
    progressive = encoded("jpg", IMAGE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert picture_size(progressive) == (53, 37)


def test_comment_and_fill_bytes_before_the_frame_are_passed_over():
    data = encoded("jpg")
    comment = b"\xff\xfe" + struct.pack(">H", 8) + b"\xff\xc0\xff\xc2aa"
    data = data[:2] + comment + b"\xff\xff\xff" + data[2:]
    assert picture_size(data) == (53, 37)


def png(width, height):
    """Returns a PNG of zeros, whatever its size: a header, and a row of pixels."""

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(bytes(width + 1)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + rows + chunk(b"IEND", b"")


def jpeg(width, height):
    data = bytearray(encoded("jpg"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def bmp(width, height):
    data = bytearray(encoded("bmp"))
    data[18:26] = struct.pack("<ii", width, -height)  # from the top downwards
    return bytes(data)


def tiff(width, height):
    data = bytearray(encoded("tiff"))
    start = struct.unpack_from("<I", data, 4)[0]
    for index in range(struct.unpack_from("<H", data, start)[0]):
        at = start + 2 + 12 * index
        tag = struct.unpack_from("<H", data, at)[0]
        if tag in (256, 257):
            value = width if tag == 256 else height
            data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, value)
    return bytes(data)


LARGE = {
    "png": png(32_000, 32_000),
    "png, a little too large": png(8193, 8192),
    "jpg": jpeg(65_000, 65_000),
    "bmp": bmp(30_000, 30_000),
    "tiff": tiff(40_000, 40_000),
    "ppm": b"P6 40000 # a comment\n 40000 255\n" + bytes(99),
    "gif": b"GIF89a" + struct.pack("<HH", 65_000, 65_000) + bytes(99),
    "webp": b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\x7f\0" * 2 + bytes(9),
}


@pytest.mark.parametrize("data", LARGE.values(), ids=list(LARGE))
def test_too_many_pixels_are_refused_by_the_header(data):
    with pytest.raises(ValueError, match=f"expected at most {MAX_PIXELS} pixels, got"):
        decode_picture(data)


def test_largest_picture_is_one_pixel_below_the_first_that_is_refused():
    assert too_many_pixels((8192, 8192)) is None
    assert too_many_pixels((8192, 8193)) is not None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xda" + bytes(50),
        b"II*\0\xff\xff\xff\xff",
        b"P5 00000000000040000 40000 255 ",
        b"#?RADIANCE\n",
        b"<svg></svg>",
    ],
)
def test_other_bytes_have_no_size_and_are_not_decoded(data):
    assert picture_size(data) is None
    with pytest.raises(ValueError, match="not a picture of a known kind"):
        decode_picture(data)


@given(st.sampled_from(KINDS), st.binary(max_size=20), st.integers(0, 200))
def test_no_bytes_make_it_stumble(kind, junk, at):
    try:
        data = encoded(kind)
    except pytest.skip.Exception:
        return
    damaged = data[:at] + junk + data[at + len(junk) :]
    assert picture_size(damaged) is None or len(picture_size(damaged)) == 2


def test_endless_header_ends():
    assert picture_size(b"\xff\xd8" + b"\xff\xfe\0\x02" * 10**6) is None
    assert picture_size(b"II*\0\x08\0\0\0\xff\xff" + bytes(10**6)) is None


# --- wherever pictures are read -------------------------------------------------------

PEAK = """
import resource, sys
limit = 3 * 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from edge_runtime.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def with_scans(more):
    """Returns a progressive JPEG whose last scan is repeated so often."""
    data = encoded("jpg", IMAGE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * more + data[-2:]


@pytest.mark.parametrize("start", [b"", b"\xff\xe1\0\x0a" + b"\xff\xd9" * 4])
def test_jpeg_of_thousands_of_scans_is_refused_undecoded(start):
    assert decode_picture(with_scans(0)).shape == IMAGE.shape
    data = with_scans(5000)
    with pytest.raises(ValueError, match=r"at most \d+ scans, got 50\d\d"):
        decode_picture(data[:2] + start + data[2:])


def test_what_stands_behind_a_jpeg_or_in_its_head_is_no_scan():
    head = b"\xff\xe1" + struct.pack(">H", 2002) + b"\xff\xda" * 1000
    data = with_scans(0)
    data = data[:2] + head + data[2:] + b"\xff\xda\0\2" * 1000
    assert decode_picture(data).shape == IMAGE.shape


@pytest.mark.parametrize("how", ["a picture", "a folder", "stdin", "the fake camera"])
def test_run_takes_no_gigabytes_for_a_large_picture(tmp_path, how):
    picture = tmp_path / "large.jpg"
    picture.write_bytes(jpeg(40_000, 40_000))
    (tmp_path / "another.jpg").write_bytes(picture.read_bytes())
    sources = {
        "a picture": str(picture),
        "a folder": str(tmp_path),
        "stdin": "-",
        "the fake camera": f"fake:{picture}",
    }
    command = [sys.executable, "-c", PEAK, "run", "--faces", "none", "--source"]
    done = subprocess.run(
        [*command, sources[how]],
        input=picture.read_bytes(),
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert b"40000 x 40000" in done.stderr
    assert b"Traceback" not in done.stderr


def test_training_images_are_bounded_in_a_folder_and_in_a_zip(tmp_path):
    from train.data.decoding import decode
    from train.data.listing.entries import Entry

    for data in (png(32_000, 32_000), jpeg(65_000, 65_000)):
        entry = Entry("large", "train", "a", io.BytesIO(data).read)
        with pytest.raises(ValueError, match="expected at most 67108864 pixels"):
            decode(entry)


def test_video_of_large_frames_is_refused(tmp_path):
    path = tmp_path / "large.mjpeg"
    path.write_bytes(3 * encoded("jpg", np.zeros((9000, 8000, 3), np.uint8)))
    command = [sys.executable, "-m", "edge_runtime", "run", "--faces", "none"]
    done = subprocess.run(
        [*command, "--source", str(path)], capture_output=True, timeout=60
    )
    assert done.returncode == 2
    assert b"8000 x 9000" in done.stderr
