"""Temperature, and what slows a Raspberry Pi down: heat and weak power."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge_runtime.hardware.board import ROOT, read_int, read_text, resident_mb

# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
REASONS = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
}
SINCE_BOOT_SHIFT = 16  # the same reasons from this bit on: it has happened
VCGENCMD_TIMEOUT_S = 2.0
BOARD_TIMEOUT_S = 0.5  # the end of a run waits for it
_THROTTLED_FILES = "sys/devices/platform/soc*/*firmware/get_throttled"
_VCGENCMD = "usr/bin/vcgencmd"
_CPU_ZONES = ("cpu-thermal", "x86_pkg_temp", "soc-thermal", "cpu_thermal")


def read_throttled(
    root: Path = ROOT, *, timeout_s: float = VCGENCMD_TIMEOUT_S
) -> int | None:
    """Returns the firmware's bits; None on a board without such firmware.

    Args:
        root: Where ``sys`` and ``usr/bin/vcgencmd`` are found; the program is called
            where the kernel has no such file.
        timeout_s: Seconds that the program may take.
    """
    for path in root.glob(_THROTTLED_FILES):
        with suppress(ValueError):
            return int(read_text(path), 16)
    program = root / _VCGENCMD
    if not os.access(program, os.X_OK):
        return None
    with suppress(OSError, ValueError, subprocess.TimeoutExpired):
        completed = subprocess.run(
            [program, "get_throttled"],
            capture_output=True,
            check=False,
            text=True,
            timeout=timeout_s,
        )
        return int(completed.stdout.partition("=")[2], 16)
    return None


def reasons_now(bits: int) -> list[str]:
    """Returns what slows the board down at this moment."""
    return [name for bit, name in REASONS.items() if bits >> bit & 1]


def reasons_since_boot(bits: int) -> list[str]:
    """Returns what has slowed the board down since it was started."""
    return reasons_now(bits >> SINCE_BOOT_SHIFT)


def _thermal_zones(root: Path) -> list[tuple[str, float]]:
    """Returns type and degrees Celsius of each thermal zone."""
    folders = sorted(root.glob("sys/class/thermal/thermal_zone*"))
    return [
        (read_text(folder / "type"), millidegrees / 1000)
        for folder in folders
        if (millidegrees := read_int(folder / "temp")) is not None
    ]


def cpu_temperature_c(root: Path = ROOT) -> float | None:
    """Returns the processor's temperature in degrees Celsius; None where unknown."""
    zones = _thermal_zones(root)
    for name in _CPU_ZONES:
        for zone, celsius in zones:
            if zone == name:
                return celsius
    return zones[0][1] if zones else None


def highest_temperature_c(root: Path = ROOT) -> float | None:
    """Returns the hottest sensor's temperature in degrees Celsius; None without one."""
    return max((celsius for _, celsius in _thermal_zones(root)), default=None)


def read_board(root: Path = ROOT) -> dict[str, Any]:
    """Returns temperature, throttling and this process's memory, JSON-ready."""
    bits = read_throttled(root, timeout_s=BOARD_TIMEOUT_S)
    throttled = None
    if bits is not None:
        throttled = {"now": reasons_now(bits), "since_boot": reasons_since_boot(bits)}
    return {
        "temperature_c": cpu_temperature_c(root),
        "throttled": throttled,
        "memory_mb": resident_mb(root),
    }
