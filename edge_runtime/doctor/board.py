"""The board: what it is, what its processor can do, and at what speed it runs."""

from __future__ import annotations

import platform
import struct
from pathlib import Path

from edge_runtime.doctor.finding import Finding
from edge_runtime.hardware.board import board_name, os_name, read_cpu, read_frequency

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
    """Returns findings on board, system and processor."""
    return [
        Finding("board", "ok", board_name(root)),
        _system(root),
        _processor(root),
        *_frequency(root),
    ]


def _system(root: Path) -> Finding:
    bits = 8 * struct.calcsize("P")
    value = f"{os_name(root)}, {platform.machine()}, Python of {bits} bits"
    if bits == 32:
        return Finding(
            "system",
            "warn",
            value,
            "only tflite-runtime has wheels for 32-bit systems: install the 64-bit"
            " Raspberry Pi OS",
        )
    return Finding("system", "ok", value)


def _processor(root: Path) -> Finding:
    cpu = read_cpu(root)
    best = next((name for name in _INT8_FEATURES if name in cpu.features), None)
    instructions = "no known vector instructions"
    if best is not None:
        instructions = f"{best} ({_INT8_FEATURES[best]})"
    return Finding("processor", "ok", f"{cpu.cores} cores, {instructions}")


def _frequency(root: Path) -> list[Finding]:
    """Returns findings on governor and frequency.

    None on a virtual machine, or where the firmware decides alone.
    """
    frequency, findings = read_frequency(root), []
    if frequency.governor in _SLOW_GOVERNORS:
        remedy = (
            "echo ondemand | sudo tee"
            " /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        )
        findings.append(Finding("governor", "warn", frequency.governor, remedy))
    elif frequency.governor:
        findings.append(Finding("governor", "ok", frequency.governor))
    highest, allowed = frequency.max_mhz, frequency.allowed_mhz
    if highest is None:
        return findings
    value = f"{frequency.now_mhz or 0} of {highest} MHz now"
    if allowed is not None and allowed < highest:
        remedy = (
            "something lowered scaling_max_freq: look for a power-saving setting, or"
            " restart the board"
        )
        value = f"{value}, limited to {allowed}"
        findings.append(Finding("frequency", "warn", value, remedy))
    else:
        findings.append(Finding("frequency", "ok", value))
    return findings
