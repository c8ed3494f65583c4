"""Heat, power, memory and disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from edge_runtime.doctor.board import board_name
from edge_runtime.doctor.finding import Finding, Verdict, number_in, text_of

MIB = 2**20
# Raspberry Pi: from 80 degrees on the firmware slows the cores, at 85 all of them.
HOT_C, TOO_HOT_C = 80.0, 85.0
# The service needs 90 MiB, 150 with page and MQTT; a model on trial takes 70 more.
LOW_MEMORY_MIB, NO_MEMORY_MIB = 250, 100
LOW_DISK_MIB, NO_DISK_MIB = 200, 20
# documentation of vcgencmd get_throttled: bits 0 to 3 now, 16 to 19 since the start.
THROTTLED = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
}
_POWER = "use the board's own power supply and a short, thick cable"
_COOL = "add a heat sink or fan, or give it air"


def health_findings(root: Path, folder: Path) -> list[Finding]:
    """Returns what is found out about heat, power, memory and disk.

    Args:
        root: Where ``proc``, ``sys`` and ``usr/bin/vcgencmd`` are found.
        folder: Where the service would write.
    """
    return [*_temperature(root), *_throttling(root), *_memory(root), _disk(folder)]


def decode_throttled(bits: int) -> tuple[list[str], list[str]]:
    """Returns what holds now, and what has happened since the start but is over."""
    now = [name for bit, name in THROTTLED.items() if bits >> bit & 1]
    since = [name for bit, name in THROTTLED.items() if bits >> (16 + bit) & 1]
    return now, [name for name in since if name not in now]


def read_throttled(root: Path) -> int | None:
    """Returns the firmware's bits; None where there is no such firmware."""
    for path in root.glob("sys/devices/platform/soc*/*firmware/get_throttled"):
        bits = _hexadecimal(text_of(path))
        if bits is not None:
            return bits
    program = root / "usr/bin/vcgencmd"
    if not os.access(program, os.X_OK):
        return None
    try:
        done = subprocess.run(
            [program, "get_throttled"],
            capture_output=True,
            check=False,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return _hexadecimal(done.stdout.partition("=")[2])


def _hexadecimal(text: str) -> int | None:
    try:
        return int(text.strip(), 16)
    except ValueError:
        return None


def _temperature(root: Path) -> list[Finding]:
    zones = root.glob("sys/class/thermal/thermal_zone*/temp")
    known = [one for path in zones if (one := number_in(path)) is not None]
    if not known:
        return []
    celsius = max(known) / 1000
    value = f"{celsius:.0f} degrees Celsius"
    if celsius >= TOO_HOT_C:
        return [Finding("temperature", "fail", value, _COOL)]
    if celsius >= HOT_C:
        return [Finding("temperature", "warn", value, _COOL)]
    return [Finding("temperature", "ok", value)]


def _throttling(root: Path) -> list[Finding]:
    bits = read_throttled(root)
    if bits is None:
        if "Raspberry Pi" not in board_name(root):
            return []
        return [
            Finding(
                "throttling",
                "warn",
                "cannot be read",
                "sudo usermod -aG video $USER, log in again; vcgencmd is in"
                " raspi-utils",
            )
        ]
    now, before = decode_throttled(bits)
    remedy = _POWER if "under-voltage" in (*now, *before) else _COOL
    if now:
        return [
            Finding("throttling", "fail", f"{', '.join(now)} now ({bits:#x})", remedy)
        ]
    if before:
        value = f"{', '.join(before)} since the start ({bits:#x})"
        return [Finding("throttling", "warn", value, remedy)]
    return [Finding("throttling", "ok", f"none since the start ({bits:#x})")]


def _memory(root: Path) -> list[Finding]:
    sizes = {}
    for line in text_of(root / "proc/meminfo").splitlines():
        words = line.split()
        if len(words) >= 2 and words[1].isdecimal():
            sizes[words[0].rstrip(":")] = int(words[1]) // 1024
    if "MemAvailable" not in sizes:
        return []
    free, total = sizes["MemAvailable"], sizes.get("MemTotal", 0)
    value = f"{free:,} of {total:,} MiB free"
    remedy = "stop what is not needed (a desktop: boot to the console instead)"
    status = _judged(free, LOW_MEMORY_MIB, NO_MEMORY_MIB)
    found = [_low("memory", status, value, remedy)]
    swap, left = sizes.get("SwapTotal", 0), sizes.get("SwapFree", 0)
    if swap and left < swap // 2:
        found.append(
            Finding("swap", "warn", f"{swap - left:,} of {swap:,} MiB in use", remedy)
        )
    elif swap or total > 1024:
        found.append(Finding("swap", "ok", f"{swap - left:,} of {swap:,} MiB in use"))
    else:
        found.append(
            Finding(
                "swap",
                "warn",
                "none, on a board with little memory",
                "sudo apt install zram-tools  (compressed, wears no card)",
            )
        )
    return found


def _disk(folder: Path) -> Finding:
    try:
        free = shutil.disk_usage(folder).free // MIB
    except OSError as error:
        return Finding(
            "disk", "fail", f"{folder}: {error.strerror}", "look at the card"
        )
    value = f"{free:,} MiB free in {folder}"
    if not _writable(folder):
        return Finding(
            "disk",
            "warn",
            f"{value}, but it cannot be written",
            "run it elsewhere, or look at the card: a worn one becomes read-only",
        )
    status = _judged(free, LOW_DISK_MIB, NO_DISK_MIB)
    return _low("disk", status, value, "free some space: journalctl --vacuum-size=50M")


def _writable(folder: Path) -> bool:
    """Returns whether a file can be made; permissions alone do not tell."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _judged(free: int, low: int, none: int) -> Verdict:
    return "fail" if free < none else "warn" if free < low else "ok"


def _low(name: str, status: Verdict, value: str, remedy: str) -> Finding:
    return Finding(name, status, value, "" if status == "ok" else remedy)
