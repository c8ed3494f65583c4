"""Which kind of picture a file is, by its name and by its first bytes."""

from __future__ import annotations

from edge_runtime.utils.picture_header import picture_size, too_many_pixels

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
_SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (8, b"WEBP", "WebP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"P5", "PGM"),
    (0, b"P6", "PPM"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypavis", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftyphev", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypmsf1", "HEIC"),
)
_NO_PICTURES = (
    (b"<", "text, such as a web page"),
    (b"{", "text"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "zip"),
    (b"version https://git-lfs", "pointer of Git LFS: run  git lfs pull"),
)


def picture_kind(start: bytes) -> str | None:
    """Returns the kind of a picture, such as ``"JPEG"``; None if it is none.

    Args:
        start: The first 16 bytes of the file or more.
    """
    for offset, signature, kind in _SIGNATURES:
        if start.startswith(signature, offset):
            return kind
    return None


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
    if kind:
        return f"damaged {kind}"
    start = data[:64].lstrip()
    for signature, what in _NO_PICTURES:
        if start.startswith(signature):
            return what
    return "no picture"


def _codecs() -> str:
    import cv2

    lines = cv2.getBuildInformation().splitlines()
    return "\n".join(line for line in lines if line.split()[-1:] != ["NO"])
