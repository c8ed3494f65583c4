"""Which processor and board this is."""

from __future__ import annotations

import platform
from pathlib import Path


def cpu_key(root: Path = Path("/")) -> str:
    """Returns which processor this is: implementer and part on Arm, else its name."""
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    if "CPU part" in found:
        return f"{found.get('CPU implementer', '?')}/{found['CPU part']}"
    return found.get("model name", platform.machine())


def board_name(root: Path) -> str:
    """Returns the board's name from the device tree, else the processor's."""
    model = text_of(root / "proc/device-tree/model")
    return model or _cpuinfo(root).get("model name", "") or platform.machine()


def _cpuinfo(root: Path) -> dict[str, str]:
    """Returns the first value of every key in /proc/cpuinfo."""
    found: dict[str, str] = {}
    for line in text_of(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    return found


def text_of(path: Path) -> str:
    """Returns a small file of the kernel's as text; empty where it cannot be read."""
    try:
        # The device tree ends its strings with a zero byte.
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""


def number_in(path: Path) -> int | None:
    """Returns the whole number in a file; None where there is none."""
    text = text_of(path)
    return int(text) if text.isdecimal() else None
