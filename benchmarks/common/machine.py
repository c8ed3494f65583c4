"""The machine card: what a figure was measured on, without saying whose machine it is.

Every entry is best effort: what cannot be found out is left empty, and nothing raises.
No host name, user name or path is recorded.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

WHEELS = (
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "ai-edge-litert",
    "tflite-runtime",
    "onnxruntime",
)
# /proc/cpuinfo on Arm gives numbers; these are Arm Ltd's (implementer 0x41).
ARM_PARTS = {
    "0xc07": "Cortex-A7",
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
}


def machine_card(root: Path = Path("/")) -> dict[str, Any]:
    """Returns what is known of this machine, JSON-ready.

    Args:
        root: Where ``proc``, ``sys`` and ``etc`` are found.

    Returns:
        model, cpu, cpu_part, architecture, cores, governor, frequency_mhz (now),
        max_frequency_mhz, memory_mb, os, python, load_average (1, 5 and 15 minutes)
        and versions of the wheels that matter; empty or None where unknown.
    """
    cpu = _cpu_info(root)
    part = _cpu_name(cpu)
    return {
        "model": text_of(root / "proc/device-tree/model")
        or cpu.get("model name", part),
        "cpu": part,
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "cpu_part": _cpu_part(cpu),
        "governor": text_of(frequency_folder(root) / "scaling_governor"),
        "frequency_mhz": thousandth(frequency_folder(root) / "scaling_cur_freq"),
        "max_frequency_mhz": thousandth(frequency_folder(root) / "cpuinfo_max_freq"),
        "memory_mb": _memory_mb(root),
        "os": _os_name(root),
        "python": platform.python_version(),
        "load_average": load_average(),
        "versions": library_versions(),
    }


def library_versions() -> dict[str, str]:
    """Returns the versions of the installed wheels that can change a figure."""
    versions = {}
    for name in WHEELS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def load_average() -> list[float] | None:
    """Returns the runnable processes over 1, 5 and 15 minutes, None where unknown."""
    try:
        return [round(value, 2) for value in os.getloadavg()]
    except (OSError, AttributeError):
        return None


def describe(card: dict[str, Any]) -> str:
    """Returns a machine card as one line for people."""
    memory = f"{card['memory_mb'] / 1024:.1f} GiB" if card["memory_mb"] else ""
    cores = f"{card['cores']} cores" if card["cores"] else ""
    shown = [card["model"], card["architecture"], cores, memory, card["os"]]
    if card["governor"]:
        shown.append(f"governor {card['governor']}")
    return ", ".join(part for part in shown if part)


def text_of(path: Path) -> str:
    """Returns a small file's text without blanks around it; empty where unreadable."""
    try:
        # The device tree ends its strings with a zero byte.
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""


def _cpu_info(root: Path) -> dict[str, str]:
    """Returns the first value of every key in /proc/cpuinfo."""
    found: dict[str, str] = {}
    for line in text_of(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    return found


def _cpu_name(cpu: dict[str, str]) -> str:
    part = cpu.get("CPU part", "").lower()
    if not part:
        return cpu.get("model name", platform.processor())
    if cpu.get("CPU implementer") == "0x41" and part in ARM_PARTS:
        return ARM_PARTS[part]
    return f"implementer {cpu.get('CPU implementer', '?')} part {part}"


def _cpu_part(cpu: dict[str, str]) -> str:
    """Returns implementer/part on Arm, family/model/stepping elsewhere."""
    if "CPU part" in cpu:
        return f"{cpu.get('CPU implementer', '?')}/{cpu['CPU part']}"
    keys = ("cpu family", "model", "stepping")
    return "/".join(cpu[key] for key in keys if key in cpu)


def frequency_folder(root: Path) -> Path:
    """Returns where the kernel tells the first core's frequency."""
    return root / "sys/devices/system/cpu/cpu0/cpufreq"


def thousandth(path: Path) -> int | None:
    """Returns the number in a file in thousands (kHz as MHz), None without one."""
    text = text_of(path)
    return int(text) // 1000 if text.isdecimal() else None


def _memory_mb(root: Path) -> int | None:
    for line in text_of(root / "proc/meminfo").splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "MemTotal:" and words[1].isdecimal():
            return int(words[1]) // 1024
    return None


def _os_name(root: Path) -> str:
    for line in text_of(root / "etc/os-release").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip("\"'")
    return platform.system()
