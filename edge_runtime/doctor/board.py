"""The board: what it is, what its processor can do, and at what speed it runs."""

from __future__ import annotations

import os
import platform
import struct
from pathlib import Path

from edge_runtime.doctor.finding import Finding
from edge_runtime.hardware.cpu import _cpuinfo, board_name, number_in, text_of

# Instructions that decide how fast int8 is, the best first.
_INT8_FEATURES = {
    "i8mm": "int8 matrix products",
    "asimddp": "int8 dot products",
    "avx512_vnni": "int8 dot products",
    "avx_vnni": "int8 dot products",
    "avx512f": "512-bit vectors",
    "avx2": "256-bit vectors",
    "asimd": "128-bit vectors, no int8 dot products",
    "neon": "128-bit vectors, no int8 dot products",
    "sse4_2": "128-bit vectors",
}

# kernel.org, Documentation/admin-guide/pm/cpufreq: these never reach full speed.
_SLOW_GOVERNORS = ("powersave", "userspace")


def board_findings(root: Path) -> list[Finding]:
    """Returns what is found out about board, system and processor.

    Args:
        root: Where ``proc``, ``sys`` and ``etc`` are found.
    """
    return [
        Finding("board", "ok", board_name(root)),
        _system(root),
        _features(root),
        *_governor(root),
        *_frequency(root),
    ]


def _system(root: Path) -> Finding:
    name = next(
        (
            line.partition("=")[2].strip("\"'")
            for line in text_of(root / "etc/os-release").splitlines()
            if line.startswith("PRETTY_NAME=")
        ),
        platform.system(),
    )
    bits = 8 * struct.calcsize("P")
    value = f"{name}, {platform.machine()}, Python of {bits} bits"
    if bits == 32:
        return Finding(
            "system",
            "warn",
            value,
            "only tflite-runtime has wheels for 32-bit systems: install the 64-bit"
            " Raspberry Pi OS",
        )
    return Finding("system", "ok", value)


def _features(root: Path) -> Finding:
    cpu = _cpuinfo(root)
    known = set((cpu.get("Features", "") or cpu.get("flags", "")).split())
    best = [f"{one} ({_INT8_FEATURES[one]})" for one in _INT8_FEATURES if one in known]
    cores = text_of(root / "proc/cpuinfo").count("processor\t") or os.cpu_count() or 1
    said = best[0] if best else "no vector instructions that are known here"
    return Finding("processor", "ok", f"{cores} cores, {said}")


def _governor(root: Path) -> list[Finding]:
    folder = root / "sys/devices/system/cpu/cpu0/cpufreq"
    governor = text_of(folder / "scaling_governor")
    if not governor:
        return []  # a virtual machine, or firmware that decides alone
    if governor in _SLOW_GOVERNORS:
        return [
            Finding(
                "governor",
                "warn",
                governor,
                "echo ondemand | sudo tee"
                " /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
            )
        ]
    return [Finding("governor", "ok", governor)]


def _frequency(root: Path) -> list[Finding]:
    folder = root / "sys/devices/system/cpu/cpu0/cpufreq"
    now = number_in(folder / "scaling_cur_freq")
    allowed = number_in(folder / "scaling_max_freq")
    highest = number_in(folder / "cpuinfo_max_freq")
    if highest is None:
        return []
    value = f"{(now or 0) // 1000} of {highest // 1000} MHz now"
    if allowed is not None and allowed < highest:
        return [
            Finding(
                "frequency",
                "warn",
                f"{value}, limited to {allowed // 1000}",
                "something lowered scaling_max_freq: look for a power-saving setting,"
                " or restart the board",
            )
        ]
    return [Finding("frequency", "ok", value)]
