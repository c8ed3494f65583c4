"""Images are decoded, or it is known why not."""

import cv2
import numpy as np
import pytest

from edge_runtime.errors import DatasetError
from edge_runtime.utils.stderr import capture_stderr
from train.data.dataset import load
from train.data.decoding import decode
from train.data.listing.entries import Entry
from train.data.summary import summarize

GREY = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)


def encode(suffix, image=GREY):
    if suffix == ".gif":
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return cv2.imencode(suffix, image)[1].tobytes()


def entry(content):
    return Entry("x", "train", "cat", lambda: content)


def why(content):
    with pytest.raises(ValueError) as refused:
        decode(entry(content))
    return str(refused.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"no image", "no picture"),
        (b"<!DOCTYPE html>404", "text, such as a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"\0\0\0\x18ftypheic" + bytes(2000), "HEIC, as of a phone: save it as JPEG"),
        (b"\0\0\0\x18ftypmif1" + bytes(2000), "HEIC"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "damaged PNG"),
        (encode(".png")[:200], "damaged PNG"),
        (encode(".jpg")[:500], "damaged JPEG"),
        (encode(".jpg")[:-2], "damaged JPEG"),
        (encode(".bmp")[:500], "damaged BMP"),
        (b"II+\0" + bytes(60), "TIFF that is damaged or of a kind OpenCV cannot"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_reason_is_told_and_the_library_is_silent(content, reason, capfd):
    assert reason in why(content)
    assert capfd.readouterr().err == ""


def test_codec_that_is_not_built_in_is_named(monkeypatch):
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GIF:   NO\n")
    assert "GIF, which OpenCV" in why(b"GIF89a" + bytes(300))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (ValueError("o"), "o"),
    ],
)
def test_reason_of_the_reader_is_kept(error, reason):
    def read():
        raise error

    with pytest.raises(ValueError, match=f"^{reason}$"):
        decode(Entry("x", "train", "cat", read))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".avif", ".webp", ".tiff"])
def test_common_formats_are_decoded(suffix):
    if not cv2.haveImageWriter(suffix):
        pytest.skip(f"this OpenCV ({cv2.__version__}) has no {suffix}")
    pixels = decode(entry(encode(suffix))).pixels
    assert pixels.shape[:2] == GREY.shape
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize(
    ("image", "shape"),
    [
        (np.zeros((9, 7), np.uint8), (9, 7)),
        (np.zeros((9, 7, 3), np.uint8), (9, 7, 3)),
        (np.zeros((9, 7, 4), np.uint8), (9, 7, 3)),
        (np.zeros((9, 7), np.uint16), (9, 7)),
    ],
    ids=["grey", "colour", "alpha", "16-bit"],
)
def test_decoded_images_are_uint8_grey_or_bgr(image, shape):
    pixels = decode(entry(encode(".png", image))).pixels
    assert (pixels.shape, pixels.dtype) == (shape, np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bits_keep_their_upper_half(suffix):
    deep = np.random.default_rng(1).integers(0, 2**16, (30, 30), dtype=np.uint16)
    picture = decode(entry(encode(suffix, deep)))
    assert np.array_equal(picture.pixels, deep >> 8)
    assert picture.deep and not picture.dark


def test_floating_point_pixels_say_so():
    assert "float32 pixels" in why(encode(".tiff", GREY.astype(np.float32)))


def broken_jpeg():
    """Bytes inside the coded pixels are overwritten."""
    data = bytearray(encode(".jpg", cv2.resize(GREY, (200, 200))))
    data[len(data) // 2 : len(data) // 2 + 5] = b"\x31\x41\x59\x26\x53"
    return bytes(data)


@pytest.mark.parametrize(
    ("content", "damaged"),
    [
        (encode(".jpg"), False),
        (broken_jpeg(), True),
        (encode(".jpg")[:-2] + b"\x33" * 9 + b"\xff\xd9", True),
        (encode(".jpg") + bytes(100), False),
    ],
    ids=["whole", "broken", "extra", "trailing"],
)
def test_damage_in_a_jpeg_is_noticed(content, damaged, capfd):
    assert decode(entry(content)).damaged == damaged
    assert capfd.readouterr().err == ""


def write_set(root, contents):
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for number, content in enumerate(contents(label)):
            (root / label / f"{number}.png").write_bytes(content)
    return root


def test_damaged_jpegs_are_named(tmp_path):
    def contents(label):
        seeds = range(5) if label == "cat" else range(5, 10)
        noise = [np.random.default_rng(s).integers(0, 256, (16, 16)) for s in seeds]
        yield from (encode(".png", each.astype(np.uint8)) for each in noise)
        if label == "dog":
            yield broken_jpeg()

    assert "used 1 damaged JPEGs: dog/5.png" in summarize(
        load(write_set(tmp_path / "set", contents))
    )


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_fewer_bits_in_16_are_refused(tmp_path, bits):
    def contents(label):
        for seed in range(4):
            rng = np.random.default_rng([label == "cat", seed])
            yield encode(".png", rng.integers(0, 2**bits, (16, 16), dtype=np.uint16))

    with pytest.raises(DatasetError, match=r"16 bits a pixel.*8 bits a pixel"):
        load(write_set(tmp_path / "set", contents))


def test_one_dark_image_among_16_bit_ones_is_none_of_fewer_bits(tmp_path):
    def contents(label):
        for seed in range(4):
            rng = np.random.default_rng([label == "cat", seed])
            high = 2 ** (16 if seed else 12)
            yield encode(".png", rng.integers(0, high, (16, 16), dtype=np.uint16))

    data = load(write_set(tmp_path / "set", contents))
    assert len(data.train) == 6
    text = "used 2 dark images with 16 bits a pixel"
    (line,) = (each for each in summarize(data).splitlines() if "dark" in each)
    assert line.startswith(text) and line.endswith(": cat/0.png, dog/0.png")


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("dark", ["cat", "dog"])
def test_class_of_fewer_bits_is_refused_beside_one_of_16(tmp_path, dark, suffix):
    def contents(label):
        for seed in range(4):
            rng = np.random.default_rng([label == "cat", seed])
            high = 2 ** (12 if label == dark and seed else 16)
            yield encode(suffix, rng.integers(0, high, (16, 16), dtype=np.uint16))

    with pytest.raises(DatasetError, match=rf"got 3 of '{dark}'.*as {dark}/3\.png"):
        load(write_set(tmp_path / "set", contents))


def test_dark_images_beside_ones_of_8_bits_are_refused(tmp_path):
    def contents(label):
        for seed in range(4):
            rng = np.random.default_rng([label == "cat", seed])
            noise = rng.integers(0, 256, (16, 16), dtype=np.uint16)
            deep = label == "dog" and seed == 0
            yield encode(".png", noise * 16 if deep else noise.astype(np.uint8))

    with pytest.raises(DatasetError, match="got 1 of 'dog'"):
        load(write_set(tmp_path / "set", contents))


def test_what_a_library_writes_is_captured_and_nothing_else(capfd):
    import os

    with capture_stderr() as messages:
        os.write(2, b"inside\n")
    os.write(2, b"outside\n")
    assert messages() == "inside\n"
    assert capfd.readouterr().err == "outside\n"


def test_stderr_is_itself_again_after_two_threads_captured_it(capfd):
    import os
    from threading import Event, Thread

    inside, leave = Event(), Event()

    def other():
        with capture_stderr():
            inside.set()
            leave.wait()

    thread = Thread(target=other)
    with capture_stderr():
        thread.start()
        inside.wait(0.2)  # it has to wait; if it had not, it would end last
    leave.set()
    thread.join()
    os.write(2, b"outside\n")
    assert capfd.readouterr().err == "outside\n"


def test_picture_of_too_many_pixels_says_so():
    header = b"P5 40000 40000 255\n"
    assert "pixels, got 40000 x 40000" in why(header + bytes(100))
