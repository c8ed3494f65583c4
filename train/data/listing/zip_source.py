"""The files of a zip, whichever system it comes from, without unpacking it."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from edge_runtime.errors import DatasetError
from edge_runtime.untrusted import open_regular
from edge_runtime.utils.picture_kinds import START_BYTES, what_it_is
from train.data.listing.stored_files import (
    LARGEST_FILE_BYTES,
    FileTree,
    StoredFile,
    sort_files,
    stamp_of,
)

UTF8_FLAG, ENCRYPTED_FLAG = 0x800, 0x1  # APPNOTE.TXT 4.4.4
UNICODE_PATH = 0x7075  # APPNOTE.TXT 4.6.9: extra field of Info-ZIP, WinZip and 7-Zip
REPLACED = "entries of the zip that a later one of the same name replaces"
GUESSES = ("gbk", "shift_jis", "cp949", "cp850")  # shown, never used


@contextmanager
def open_zip(path: Path) -> Iterator[FileTree]:
    """Yields the files of a zip, which can be read while it is open.

    Raises:
        DatasetError: It is damaged, or its names are in an unknown encoding.
    """
    with ExitStack() as opened:
        try:
            file = opened.enter_context(open_regular(path))
            archive = opened.enter_context(zipfile.ZipFile(file))
        except Exception as error:  # zipfile raises many kinds on damaged archives
            what = None
            with suppress(OSError), open_regular(path) as file:
                what = what_it_is(file.read(START_BYTES))
            reason = f"{error}; fetch it again"
            if what not in (None, "zip"):
                reason = f"it is {what}"
            raise DatasetError(
                f"expected a readable zip, got {path.name!r}: {reason}"
            ) from error
        yield _list_zip(archive, path, stamp_of(os.fstat(file.fileno())))


def _list_zip(archive: zipfile.ZipFile, path: Path, stamp: str) -> FileTree:
    files, folders, replaced = dict[str, StoredFile](), set[str](), list[str]()
    infos = archive.infolist()
    for info, name in zip(infos, _decode_names(infos, path), strict=True):
        # Not is_dir(): of an entry without a name it is an IndexError in Python 3.11.
        inside = _with_slashes(name)
        if name.endswith(("/", "\\")):
            folders.add(inside)
        elif inside:
            if inside in files:
                replaced.append(inside)
            files[inside] = _stored_file(archive, info, inside, stamp)
            folders.add(inside.rpartition("/")[0])
    ignored = {REPLACED: sorted(replaced)} if replaced else {}
    return sort_files(path.name, files.values(), folders, ignored)


def _with_slashes(name: str) -> str:
    """Returns a name with ``/`` between its parts; PowerShell 5 has others."""
    parts = name.replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in ("", "."))


def _decode_names(infos: Sequence[zipfile.ZipInfo], path: Path) -> list[str]:
    """Returns the names, as UTF-8 also where the zip does not say so.

    zipfile reads names without the flag as code page 437. macOS and many programs
    write UTF-8 without it; Windows writes the code page of its language.

    Raises:
        DatasetError: The names of folders are in such a code page.
    """
    raw = [_raw_name(info) for info in infos]
    try:
        return [
            info.filename if name is None else name.decode()
            for info, name in zip(infos, raw, strict=True)
        ]
    except UnicodeDecodeError:
        pass
    for info, name in zip(infos, raw, strict=True):
        folder = (name or b"").replace(b"\\", b"/").rpartition(b"/")[0]
        if not folder.isascii():
            raise DatasetError(
                f"{path.name}: the zip does not say how folder names such as"
                f" {info.filename!r} are encoded{_suggest(folder)}: unpack it with  "
                f"python -m zipfile --metadata-encoding gbk -e {path.name} FOLDER"
            )
    return [info.filename for info in infos]  # file names are only shown


def _raw_name(info: zipfile.ZipInfo) -> bytes | None:
    """Returns a name's bytes; None where its encoding is known."""
    if info.flag_bits & UTF8_FLAG or info.filename.isascii():
        return None
    try:
        raw = info.filename.encode("cp437")
    except UnicodeEncodeError:  # already decoded in another way
        return None
    return _unicode_path(info.extra, raw) or raw


def _unicode_path(extra: bytes, raw: bytes) -> bytes | None:
    """Returns the name in the extra field for UTF-8 names, if it is of this name."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        value, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == UNICODE_PATH and len(value) > 5 and value[0] == 1:
            (crc,) = struct.unpack_from("<I", value, 1)
            return value[5:] if crc == zlib.crc32(raw) else None
    return None


def _suggest(folder: bytes) -> str:
    readings = []
    for encoding in GUESSES:
        try:
            readings.append(f"{folder.decode(encoding)!r} in {encoding}")
        except UnicodeDecodeError:
            continue
    return f" ({', '.join(readings)})" if readings else ""


def _stored_file(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, stamp: str
) -> StoredFile:
    def open_it() -> IO[bytes]:
        if info.flag_bits & ENCRYPTED_FLAG:
            raise ValueError("password: unpack the zip with it first")
        return archive.open(info)

    def read() -> bytes:
        if info.file_size > LARGEST_FILE_BYTES:
            raise ValueError(
                f"expected at most {LARGEST_FILE_BYTES} bytes, got {info.file_size}"
            )
        try:
            with open_it() as file:
                return file.read()
        except (OSError, ValueError):
            raise
        except NotImplementedError as error:
            raise ValueError(f"{error}: unpack the zip with another program") from error
        except Exception as error:  # zipfile raises many kinds on damage
            raise ValueError(f"damaged in the zip ({error})") from error

    place = f"{stamp} {info.header_offset}" if stamp else ""
    return StoredFile(name, read, open_it, lambda: place)
