"""What slows a Raspberry Pi down, as its firmware says: heat and weak power."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
REASONS = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
}

SINCE_START = 16  # the same reasons from this bit on: it has happened

PATIENCE_S = 2.0

_KERNEL = "sys/devices/platform/soc*/*firmware/get_throttled"

_PROGRAM = "usr/bin/vcgencmd"


def read_throttled(root: Path, *, patience_s: float = PATIENCE_S) -> int | None:
    """Returns the firmware's bits; None where there is no such firmware.

    Args:
        root: Where ``sys`` and ``usr/bin/vcgencmd`` are found; that program is asked
            where the kernel says nothing.
        patience_s: Seconds that the program may take.
    """
    for path in root.glob(_KERNEL):
        with suppress(OSError, ValueError):
            return int(path.read_text(), 16)
    program = root / _PROGRAM
    if not os.access(program, os.X_OK):
        return None
    with suppress(OSError, ValueError, subprocess.TimeoutExpired):
        done = subprocess.run(
            [program, "get_throttled"],
            capture_output=True,
            check=False,
            text=True,
            timeout=patience_s,
        )
        return int(done.stdout.partition("=")[2], 16)
    return None


def reasons_now(bits: int) -> list[str]:
    """Returns what slows the board down at this moment."""
    return [name for bit, name in REASONS.items() if bits >> bit & 1]


def reasons_since_start(bits: int) -> list[str]:
    """Returns what has slowed it down since it was started; now, too, or no more."""
    return reasons_now(bits >> SINCE_START)


_CPU_ZONES = ("cpu-thermal", "x86_pkg_temp", "soc-thermal", "cpu_thermal")

_PATIENCE_S = 0.5  # the end of a run waits for it


def read_board(root: Path = Path("/")) -> dict[str, Any]:
    """Returns the machine's state, JSON-ready.

    Args:
        root: Where ``sys``, ``proc`` and ``usr`` are.
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
    bits = read_throttled(root, patience_s=_PATIENCE_S)
    if bits is None:
        return None
    return {"now": reasons_now(bits), "since_boot": reasons_since_start(bits)}


def memory_mb(root: Path = Path("/")) -> float | None:
    """Returns this process's resident memory in megabytes (10**6 bytes)."""
    with suppress(OSError, ValueError, IndexError):
        pages = int((root / "proc/self/statm").read_text().split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
    return None
