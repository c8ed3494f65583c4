"""Which kind of picture a file is, by its name and by its first bytes."""

from __future__ import annotations

import re

from edge_runtime.utils.pictures import is_avif, picture_size, too_many_pixels

SUFFIXES = frozenset(
    [
        ".avif",
        ".bmp",
        ".gif",
        ".jfif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pgm",
        ".png",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    ]
)
START_BYTES = 64
ANIMATION_BYTES = 4096
_KINDS = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "GIF": rb"GIF8",
    "BMP": rb"BM.{12}",
    "WebP": rb"RIFF.{4}WEBP",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "PBM": rb"P4\s",
    "PGM": rb"P5\s",
    "PPM": rb"P6\s",
    "HEIC": rb".{4}ftyp(?:he[iv]|mif1|msf1|miaf)",
}
_BEGINNINGS = {kind: re.compile(each, re.DOTALL) for kind, each in _KINDS.items()}
_NO_PICTURES = (
    (b"<", "text, such as a web page"),
    (b"{", "text"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "zip"),
    (b"Rar!", "RAR archive"),
    (b"7z\xbc\xaf", "7z archive"),
    (b"\x1f\x8b", "gzip archive"),
    (b"version https://git-lfs", "pointer of Git LFS: run  git lfs pull"),
)


def picture_kind(start: bytes) -> str | None:
    """Returns the kind of a picture, such as ``"JPEG"``; None if it is none.

    Args:
        start: The first ``START_BYTES`` of the file or more.
    """
    if is_avif(start):  # which may also call itself what a HEIC does
        return "AVIF"
    for kind, beginning in _BEGINNINGS.items():
        if beginning.match(start):
            return kind
    return None


def is_animation(start: bytes) -> bool:
    """Returns whether a PNG, WebP or AVIF file holds an animation.

    Args:
        start: Its first ``ANIMATION_BYTES`` or more.
    """
    kind = picture_kind(start)
    if kind == "PNG":  # the chunk acTL comes before the picture's own
        return b"acTL" in start.partition(b"IDAT")[0]
    if kind == "WebP":
        return start[12:16] == b"VP8X" and bool(start[20:21] and start[20] & 0b10)
    return kind == "AVIF" and start[8:12] == b"avis"


def why_unreadable(data: bytes, error: str) -> str:
    """Returns why a file cannot be decoded, with the way out.

    Args:
        data: The file.
        error: What the decoder said; told where the picture has too many pixels.
    """
    if (size_wh := picture_size(data)) and too_many_pixels(size_wh):
        return error
    if not data:
        return "empty"
    kind = picture_kind(data)
    if kind == "HEIC":
        return "HEIC, as of a phone: save it as JPEG"
    if kind in ("AVIF", "GIF") and f"{kind}:" not in _codecs():
        import cv2

        return f"{kind}, which OpenCV {cv2.__version__} as installed here cannot read"
    if kind == "TIFF":
        return "TIFF that is damaged or of a kind OpenCV cannot read: save it as PNG"
    if kind:
        return f"damaged {kind}"
    return what_it_is(data) or "no picture"


def what_it_is(data: bytes) -> str | None:
    """Returns what a file is that is neither picture nor model; None where unknown.

    Args:
        data: The file, or its first ``START_BYTES``.
    """
    start = data[:START_BYTES].lstrip()
    each = (what for signature, what in _NO_PICTURES if start.startswith(signature))
    return next(each, None)


def _codecs() -> str:
    import cv2

    lines = cv2.getBuildInformation().splitlines()
    return "\n".join(line for line in lines if line.split()[-1:] != ["NO"])
