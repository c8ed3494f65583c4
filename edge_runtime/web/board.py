"""How the machine is: temperature, throttling, memory; None where it does not say."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge_runtime.throttling import read_throttled, reasons_now, reasons_since_start

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
