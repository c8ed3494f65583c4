"""Opens the zip archive behind a TFLite model, where it is as small as ours.

``zipfile`` makes an object of each entry before one of them is asked for: of a million
entries, hundreds of megabytes.
"""

from __future__ import annotations

import io
import zipfile

MOST_ENTRIES = 64
_ENTRY = b"PK\x01\x02"  # begins each entry of the directory (APPNOTE.TXT, 4.3.12)


def open_zip_tail(data: bytes, largest_bytes: int) -> zipfile.ZipFile:
    """Returns the archive at the end of some bytes.

    Args:
        data: A whole file, or what it ends with.
        largest_bytes: Of the archive that is looked for; what is before is not read.

    Raises:
        zipfile.BadZipFile: There is none.
        ValueError: It has more than ``MOST_ENTRIES`` entries.
    """
    tail = data[-largest_bytes:]
    if tail.count(_ENTRY) > MOST_ENTRIES:
        raise ValueError(f"expected at most {MOST_ENTRIES} entries in its zip archive")
    return zipfile.ZipFile(io.BytesIO(tail))
