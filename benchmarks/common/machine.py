"""The machine card: what a figure was measured on, without saying whose machine it is.

Every entry is best effort: what cannot be found out is left empty, and nothing raises.
No host name, user name or path is recorded.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from edge_runtime.hardware.cpu import board_name, os_name, read_cpu, read_frequency
from edge_runtime.hardware.memory import read_memory
from edge_runtime.utils.versions import installed_version

WHEELS = (
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "ai-edge-litert",
    "tflite-runtime",
    "onnxruntime",
)


def machine_card(root: Path = Path("/")) -> dict[str, Any]:
    """Returns what is known of this machine, JSON-ready.

    Args:
        root: Where ``proc``, ``sys`` and ``etc`` are found.

    Returns:
        model, cpu, cpu_part, architecture, cores, governor, frequency_mhz (now),
        max_frequency_mhz, memory_mb, os, python, load_average (1, 5 and 15 minutes)
        and versions of the wheels that matter; empty or None where unknown.
    """
    cpu, frequency, memory = read_cpu(root), read_frequency(root), read_memory(root)
    return {
        "model": board_name(root),
        "cpu": cpu.name,
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "cpu_part": cpu.part,
        "governor": frequency.governor,
        "frequency_mhz": frequency.now_mhz,
        "max_frequency_mhz": frequency.max_mhz,
        "memory_mb": memory.total // 2**20 if memory else None,
        "os": os_name(root),
        "python": platform.python_version(),
        "load_average": load_average(),
        "versions": library_versions(),
    }


def library_versions() -> dict[str, str]:
    """Returns the versions of the installed wheels that can change a figure."""
    versions = {name: installed_version(name) for name in WHEELS}
    return {name: version for name, version in versions.items() if version}


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
