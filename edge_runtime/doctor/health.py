"""Heat, power, memory and disk."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from edge_runtime.doctor.finding import Finding
from edge_runtime.hardware.board import board_name, limits_memory, read_memory
from edge_runtime.hardware.sensors import (
    highest_temperature_c,
    read_throttled,
    reasons_now,
    reasons_since_boot,
)

MIB = 2**20
# Raspberry Pi: from 80 degrees on the firmware slows the cores, at 85 all of them.
HOT_C, TOO_HOT_C = 80.0, 85.0
# The service needs 90 MiB, 150 with page and MQTT; trying a new model takes 70 more.
LOW_MEMORY_MIB, NO_MEMORY_MIB = 250, 100
LOW_DISK_MIB, NO_DISK_MIB = 200, 20
_POWER = "use the board's own power supply and a short, thick cable"
_COOL = "add a heat sink or fan, or give it air"


def health_findings(root: Path, folder: Path) -> list[Finding]:
    """Returns findings on heat, power, memory, and the disk of a folder."""
    return [
        *_temperature(root),
        *_throttling(root),
        *_memory(root),
        *_memory_limit(root),
        _disk(folder),
    ]


def _temperature(root: Path) -> list[Finding]:
    celsius = highest_temperature_c(root)
    if celsius is None:
        return []
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
    now, before = reasons_now(bits), reasons_since_boot(bits)
    remedy = _POWER if "under-voltage" in (*now, *before) else _COOL
    if now:
        value = f"{', '.join(now)} now ({bits:#x})"
        return [Finding("throttling", "fail", value, remedy)]
    if before:
        value = f"{', '.join(before)} since the start ({bits:#x})"
        return [Finding("throttling", "warn", value, remedy)]
    return [Finding("throttling", "ok", f"none since the start ({bits:#x})")]


def _memory(root: Path) -> list[Finding]:
    memory = read_memory(root)
    if memory is None:
        return []
    free, total = memory.available // MIB, memory.total // MIB
    value = f"{free:,} of {total:,} MiB free"
    if memory.limit is not None:
        value += f", limited to {memory.limit // MIB:,} MiB (container or service)"
    remedy = "stop what is not needed (a desktop: boot to the console instead)"
    memory_finding = _space(
        "memory", free, LOW_MEMORY_MIB, NO_MEMORY_MIB, value, remedy
    )
    swap, used = memory.swap_total, memory.swap_total - memory.swap_free
    value = f"{used // MIB:,} of {swap // MIB:,} MiB in use"
    if used > swap // 2:
        swap_finding = Finding("swap", "warn", value, remedy)
    elif swap or total > 1024:
        swap_finding = Finding("swap", "ok", value)
    else:
        swap_finding = Finding(
            "swap",
            "warn",
            "none, on a board with little memory",
            "sudo apt install zram-tools  (compressed, wears no card)",
        )
    return [memory_finding, swap_finding]


def _memory_limit(root: Path) -> list[Finding]:
    """Returns whether the kernel can limit a service's memory."""
    limits = limits_memory(root)
    if limits is None:
        return []
    if limits:
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
    remedy = "free space: journalctl --vacuum-size=50M"
    return _space("disk", free, LOW_DISK_MIB, NO_DISK_MIB, value, remedy)


def _writable(folder: Path) -> bool:
    """Returns whether a file can be created; permissions alone do not say."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _space(
    name: str, free_mib: int, low_mib: int, none_mib: int, value: str, remedy: str
) -> Finding:
    if free_mib >= low_mib:
        return Finding(name, "ok", value)
    return Finding(name, "fail" if free_mib < none_mib else "warn", value, remedy)
