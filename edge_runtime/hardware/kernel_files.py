"""Small files of the kernel, read without errors."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/")


def read_text(path: Path) -> str:
    """Returns the text of a small file; empty where it cannot be read."""
    try:
        # The device tree ends its strings with a zero byte.
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""


def read_int(path: Path) -> int | None:
    """Returns the whole number in a file; None where there is none."""
    try:
        return int(read_text(path))
    except ValueError:
        return None


def read_fields(path: Path, separator: str) -> dict[str, str]:
    """Returns the first value of each key in a file of ``key: value`` lines."""
    fields: dict[str, str] = {}
    for line in read_text(path).splitlines():
        key, _, value = line.partition(separator)
        fields.setdefault(key.strip(), value.strip())
    return fields
