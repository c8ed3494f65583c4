"""Why a file is not a video that can be read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from edge_runtime.untrusted import open_regular
from edge_runtime.utils.picture_kinds import START_BYTES, why_unreadable

MOST_BOXES = 1000


def why_no_video(path: Path) -> str:
    """Returns why OpenCV does not open a file, with the way out."""
    try:
        with open_regular(path) as file:
            start = file.read(START_BYTES)
            if start[4:8] == b"ftyp" and not _has_index(file):
                return "an MP4 without its index, cut off or still being written"
    except OSError as error:
        return error.strerror or str(error)
    reason = why_unreadable(start, "")
    known = reason not in ("no picture", "")
    return reason if known else "convert it, as with  ffmpeg -i IN out.mp4"


def _has_index(file: IO[bytes]) -> bool:
    """Returns whether a file of ISO boxes, such as an MP4, has a whole moov."""
    end, position = file.seek(0, os.SEEK_END), 0
    for _ in range(MOST_BOXES):
        file.seek(position)
        header = file.read(16)
        size = int.from_bytes(header[:4])
        if size == 1:  # it has 64 bits, behind the name
            size = int.from_bytes(header[8:16])
        position += size
        if header[4:8] == b"moov":
            return position <= end
        if size < 8 or position >= end:
            return False
    return True
