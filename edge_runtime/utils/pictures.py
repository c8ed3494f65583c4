"""Decodes picture files, each no larger than ``MAX_PIXELS``."""

from __future__ import annotations

import re
import struct
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

DARKEST_16_BITS = 2**15  # pictures that use 16 bits reach higher


def decode_picture(data: bytes, flags: int = cv2.IMREAD_COLOR) -> npt.NDArray[Any]:
    """Returns the pixels of a picture file: the one place where OpenCV decodes bytes.

    Args:
        data: The bytes of the file.
        flags: Of ``cv2.imdecode``: colour, bit depth, rotation.

    Returns:
        (H, W, 3) BGR or (H, W) grey, uint8 unless the flags ask for another depth.

    Raises:
        ValueError: They are no such picture, damaged, or too many pixels or scans;
            the message is the reason.
    """
    size_wh = picture_size(data)
    if size_wh is None:
        raise ValueError("it is not a picture of a known kind, or cut off")
    if reason := too_many_pixels(size_wh) or _too_many_scans(data):
        raise ValueError(reason)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.STS_NO_MEM:
            raise MemoryError(f"a picture of {size_wh[0]} x {size_wh[1]}") from error
        raise ValueError("it is damaged") from error
    if image is None:
        raise ValueError("it is damaged, or this OpenCV does not know its kind")
    return image


def _too_many_scans(data: bytes) -> str | None:
    """Returns why a JPEG is not decoded, or None.

    Each scan has 33 bytes or more and takes 12 ms of 16 million pixels.
    """
    if data.count(b"\xff\xda") <= MAX_SCANS or data[:2] != b"\xff\xd8":
        return None
    at, scans = 2, 0
    while match := _MARKER.search(data, at):
        at, code = match.end(), data[match.end() - 1]
        if code == _JPEG_END:  # what follows it, such as a video, is no scan
            break
        if code not in _JPEG_ALONE:
            at += int.from_bytes(data[at : at + 2], "big")
        scans += code == _JPEG_SCAN
    if scans <= MAX_SCANS:
        return None
    return f"expected at most {MAX_SCANS} scans, got {scans}: save it again"


def to_8_bits(image: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint8], bool]:
    """Returns a picture with 8 bits a pixel, and whether it is dark for its 16.

    Nothing in a file says that values of 10 or 12 bits are stored in 16: such a picture
    is nearly black.

    Raises:
        ValueError: Its pixels are of another kind.
    """
    if image.dtype == np.uint16:
        dark = int(image.max()) < DARKEST_16_BITS
        return (image >> 8).astype(np.uint8), dark
    if image.dtype != np.uint8:
        raise ValueError(f"{image.dtype} pixels: save it with 8 bits a pixel")
    return image, False


# The bound on decoded pixels everywhere: 200 MB in colour. Cameras for boards have up
# to 64 megapixels.
MAX_PIXELS = 8192 * 8192

MAX_SCANS = 128  # progressive JPEG files have about ten

Size = tuple[int, int]

_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = {b"II*\0": "<", b"MM\0*": ">"}
# Width and height of the picture and of its tiles: each is decoded into memory.
_TIFF_SIZES = ((256, 257), (322, 323))
_TIFF_NUMBERS = {3: "H", 4: "I"}  # SHORT, LONG
# Start of frame, with the size: C0 to CF but for three that are something else.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # without a length
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
_NUMBER = rb"(?:\s|#[^\n\r]*[\n\r])+(\d{1,9})(?!\d)"
_PNM = re.compile(rb"P[1-6]" + _NUMBER + _NUMBER)
_MAX_FTYP = 256
_MAX_PARTS = 4096  # of one header


def picture_size(data: bytes) -> Size | None:
    """Returns width and height in pixels; None for a picture of an unknown kind.

    Args:
        data: A picture file: JPEG, PNG, BMP, WebP, GIF, TIFF, AVIF, PBM, PGM or PPM.
    """
    try:
        return _size(data)
    except (struct.error, IndexError, ValueError):  # cut off
        return None


def is_avif(start: bytes) -> bool:
    """Returns whether a file's header names AVIF, first or among other kinds.

    Args:
        start: The first 64 bytes of the file or more. ISO/IEC 14496-12: one brand, its
            version, and those that it is compatible with.
    """
    if start[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(start[:4], "big"), len(start), _MAX_FTYP)
    brands = {start[at : at + 4] for at in (8, *range(16, end - 3, 4))}
    return not brands.isdisjoint((b"avif", b"avis"))


def too_many_pixels(size_wh: Size) -> str | None:
    """Returns why a picture of this size is not decoded, or None."""
    width, height = size_wh
    if _area(size_wh) <= MAX_PIXELS:
        return None
    return f"expected at most {MAX_PIXELS} pixels, got {width} x {height}"


def _size(data: bytes) -> Size | None:
    if data[:2] == b"\xff\xd8":
        return _jpeg(data)
    if data[:8] == _PNG:
        return struct.unpack_from(">II", data, 16)
    if data[:2] == b"BM":
        return _bmp(data)
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return struct.unpack_from("<HH", data, 6)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data[:4] in _TIFF:
        return _tiff(data, _TIFF[data[:4]])
    if is_avif(data):
        return _avif(data)
    if match := _PNM.match(data):
        return int(match[1]), int(match[2])
    return None


def _jpeg(data: bytes) -> Size | None:
    """Reads ITU-T T.81: segments up to the one that starts the frame."""
    at = 2
    for _ in range(_MAX_PARTS):
        at = data.index(b"\xff", at)
        while data[at] == 0xFF:  # fill bytes
            at += 1
        code = data[at]
        at += 1
        if code in (0, _JPEG_END, _JPEG_SCAN):
            return None
        if code in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
        if code not in _JPEG_ALONE:
            at += struct.unpack_from(">H", data, at)[0]
    return None


def _bmp(data: bytes) -> Size:
    """Reads a header of OS/2 (12 bytes) or of Windows."""
    if struct.unpack_from("<I", data, 14)[0] == 12:
        return struct.unpack_from("<HH", data, 18)
    width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)  # negative: from the top downwards


def _webp(data: bytes) -> Size | None:
    """Reads RFC 9649: the lossy, the lossless and the extended format."""
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        width, height = (
            data[i] | data[i + 1] << 8 | data[i + 2] << 16 for i in (24, 27)
        )
        return width + 1, height + 1
    return None


def _tiff(data: bytes, order: str) -> Size | None:
    """Reads TIFF 6.0: the first picture, which is the one that is decoded."""
    start = struct.unpack_from(f"{order}I", data, 4)[0]
    count = struct.unpack_from(f"{order}H", data, start)[0]
    sizes = {tag: 0 for pair in _TIFF_SIZES for tag in pair}
    if count > _MAX_PARTS:
        return None
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}HH", data, at)
        if tag not in sizes:
            continue
        if kind not in _TIFF_NUMBERS:
            return None
        value = struct.unpack_from(order + _TIFF_NUMBERS[kind], data, at + 8)[0]
        sizes[tag] = max(sizes[tag], value)
    picture, tile = ((sizes[width], sizes[height]) for width, height in _TIFF_SIZES)
    return max(picture, tile, key=_area) if all(picture) else None


def _avif(data: bytes) -> Size | None:
    """Reads ISO/IEC 23008-12: the largest of the sizes given (``ispe``).

    Those of a picture's tiles stand beside that of the picture.
    """
    if data.count(b"ispe") > _MAX_PARTS:
        return None
    found: list[Size] = [
        struct.unpack_from(">II", data, match.end() + 4)
        for match in re.finditer(b"ispe", data)
    ]
    return max(found, key=_area, default=None)


def _area(size_wh: Size) -> int:
    return size_wh[0] * size_wh[1]
