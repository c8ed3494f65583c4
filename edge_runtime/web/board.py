"""How the machine is: temperature, throttling, memory; None where it does not say."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
THROTTLED_BITS = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
}
_SINCE_BOOT = 16  # the same meanings, from this bit on
_FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
_CPU_ZONES = ("cpu-thermal", "x86_pkg_temp", "soc-thermal", "cpu_thermal")
_PATIENCE_S = 0.5  # the end of a run waits for it


def read_board(root: Path = Path("/")) -> dict[str, Any]:
    """Returns the machine's state, JSON-ready.

    Args:
        root: Where ``sys`` and ``proc`` are.
    """
    return {
        "temperature_c": temperature_c(root),
        "throttled": throttled(root),
        "memory_mb": memory_mb(root),
    }


def temperature_c(root: Path = Path("/")) -> float | None:
    """Returns the processor's temperature in degrees Celsius."""
    zones: dict[str, float] = {}
    for folder in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        with suppress(OSError, ValueError):
            kind = (folder / "type").read_text().strip()
            zones.setdefault(kind, int((folder / "temp").read_text()) / 1000)
    for kind in (*_CPU_ZONES, *zones):
        if kind in zones:
            return zones[kind]
    return None


def throttled(root: Path = Path("/")) -> dict[str, list[str]] | None:
    """Returns what slows a Raspberry Pi down now, and what has since it was started."""
    text = _firmware_says(root)
    if text is None:
        return None
    with suppress(ValueError):
        bits = int(text.strip().removeprefix("throttled="), 16)
        return {"now": _named(bits), "since_boot": _named(bits >> _SINCE_BOOT)}
    return None


def memory_mb(root: Path = Path("/")) -> float | None:
    """Returns this process's resident memory in megabytes (10**6 bytes)."""
    with suppress(OSError, ValueError, IndexError):
        pages = int((root / "proc/self/statm").read_text().split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
    return None


def _named(bits: int) -> list[str]:
    return [name for bit, name in THROTTLED_BITS.items() if bits >> bit & 1]


def _firmware_says(root: Path) -> str | None:
    with suppress(OSError):
        return (root / _FIRMWARE).read_text()
    program = shutil.which("vcgencmd")
    if program is None or root != Path("/"):
        return None
    with suppress(OSError, subprocess.SubprocessError):
        command = [program, "get_throttled"]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True
        ).stdout
    return None
