"""Heat, power, memory and disk."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from edge_runtime.doctor.finding import Finding, Verdict
from edge_runtime.hardware.cpu import board_name, number_in, text_of
from edge_runtime.hardware.sensors import (
    read_throttled,
    reasons_now,
    reasons_since_start,
)

MIB = 2**20
# Raspberry Pi: from 80 degrees on the firmware slows the cores, at 85 all of them.
HOT_C, TOO_HOT_C = 80.0, 85.0
# The service needs 90 MiB, 150 with page and MQTT; a model on trial takes 70 more.
LOW_MEMORY_MIB, NO_MEMORY_MIB = 250, 100
LOW_DISK_MIB, NO_DISK_MIB = 200, 20
_POWER = "use the board's own power supply and a short, thick cable"
_COOL = "add a heat sink or fan, or give it air"


def health_findings(root: Path, folder: Path) -> list[Finding]:
    """Returns what is found out about heat, power, memory and disk.

    Args:
        root: Where ``proc``, ``sys`` and ``usr/bin/vcgencmd`` are found.
        folder: Where the service would write.
    """
    return [
        *_temperature(root),
        *_throttling(root),
        *_memory(root),
        *_memory_limit(root),
        _disk(folder),
    ]


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
    now, before = reasons_now(bits), reasons_since_start(bits)
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


def _memory_limit(root: Path) -> list[Finding]:
    """Returns whether the kernel can hold a service to a limit (control groups 2)."""
    controllers = root / "sys/fs/cgroup/cgroup.controllers"
    if not controllers.is_file():
        return []
    if "memory" in text_of(controllers).split():
        return [Finding("memory limit", "ok", "the service's --memory-max counts")]
    # A Raspberry Pi's kernel starts so: raspberrypi/linux 6439 and 6980.
    return [
        Finding(
            "memory limit",
            "warn",
            "the kernel has none: the service's --memory-max does nothing",
            "put  cgroup_enable=memory  at the end of the one line in"
            " /boot/firmware/cmdline.txt, then restart the board",
        )
    ]


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
