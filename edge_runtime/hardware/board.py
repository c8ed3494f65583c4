"""What the kernel says about the board: processor, frequency, memory and system."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/")
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


class Cpu(NamedTuple):
    """A processor.

    Attributes:
        name: Such as ``"Cortex-A72"`` or the name its maker gives; may be empty.
        part: Implementer/part on Arm, family/model/stepping elsewhere; may be empty.
        cores: Number of logical cores.
        features: Instruction sets by the kernel's names, such as ``"asimddp"``.
    """

    name: str
    part: str
    cores: int
    features: frozenset[str]


class Frequency(NamedTuple):
    """The frequency of the first core in MHz; None where the kernel does not say.

    Attributes:
        governor: Name of the frequency governor; empty where unknown.
        now_mhz: At this moment.
        allowed_mhz: Highest that the settings allow.
        max_mhz: Highest that the hardware can do.
    """

    governor: str
    now_mhz: int | None
    allowed_mhz: int | None
    max_mhz: int | None


def read_text(path: Path) -> str:
    """Returns the text of a small file; empty where it cannot be read."""
    try:
        # The device tree ends its strings with a zero byte.
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""


def read_int(path: Path) -> int | None:
    """Returns the whole number in a file; None where there is none."""
    try:
        return int(read_text(path))
    except ValueError:
        return None


def read_fields(path: Path, separator: str) -> dict[str, str]:
    """Returns the first value of each key in a file of ``key: value`` lines."""
    fields: dict[str, str] = {}
    for line in read_text(path).splitlines():
        key, _, value = line.partition(separator)
        fields.setdefault(key.strip(), value.strip())
    return fields


def read_cpu(root: Path = ROOT) -> Cpu:
    """Returns the processor of this machine.

    Args:
        root: Where ``proc`` is found; here and below another one in tests only.
    """
    path = root / "proc/cpuinfo"
    fields = read_fields(path, ":")
    features = fields.get("Features") or fields.get("flags", "")
    return Cpu(
        name=_name(fields),
        part=_part(fields),
        cores=read_text(path).count("processor\t") or os.cpu_count() or 1,
        features=frozenset(features.split()),
    )


def _name(fields: dict[str, str]) -> str:
    part = fields.get("CPU part", "").lower()
    if not part:
        return fields.get("model name", platform.processor())
    if fields.get("CPU implementer") == "0x41" and part in ARM_PARTS:
        return ARM_PARTS[part]
    return f"implementer {fields.get('CPU implementer', '?')} part {part}"


def _part(fields: dict[str, str]) -> str:
    if "CPU part" in fields:
        return f"{fields.get('CPU implementer', '?')}/{fields['CPU part']}"
    keys = ("cpu family", "model", "stepping")
    return "/".join(fields[key] for key in keys if key in fields)


def read_frequency(root: Path = ROOT) -> Frequency:
    """Returns the frequency of the first core."""
    folder = root / "sys/devices/system/cpu/cpu0/cpufreq"
    return Frequency(
        read_text(folder / "scaling_governor"),
        _mhz(folder / "scaling_cur_freq"),
        _mhz(folder / "scaling_max_freq"),
        _mhz(folder / "cpuinfo_max_freq"),
    )


def _mhz(path: Path) -> int | None:
    khz = read_int(path)
    return None if khz is None else khz // 1000


def board_name(root: Path = ROOT) -> str:
    """Returns the board's name from the device tree, else the processor's."""
    model = read_text(root / "proc/device-tree/model")
    return model or read_cpu(root).name or platform.machine()


def os_name(root: Path = ROOT) -> str:
    """Returns the name of the operating system and its version."""
    fields = read_fields(root / "etc/os-release", "=")
    return fields.get("PRETTY_NAME", "").strip("\"'") or platform.system()


class Memory(NamedTuple):
    """Memory in bytes.

    Attributes:
        total: Of the machine.
        limit: Of the control group (a container, a service); None without a limit.
        available: What programs can still have, the limit respected.
        swap_total: Swap space.
        swap_free: Unused part of it.
    """

    total: int
    limit: int | None
    available: int
    swap_total: int
    swap_free: int


def read_memory(root: Path = ROOT) -> Memory | None:
    """Returns the memory of this machine; None where the kernel does not say."""
    sizes = {}
    for name, value in read_fields(root / "proc/meminfo", ":").items():
        with suppress(ValueError, IndexError):
            sizes[name] = 1024 * int(value.split()[0])
    if "MemTotal" not in sizes:
        return None
    total = sizes["MemTotal"]
    available = sizes.get("MemAvailable", sizes.get("MemFree", total))
    groups = [group for group in _limits(root) if group[0] < total]
    addresses = _addresses_left(root)
    return Memory(
        total,
        min((limit for limit, _ in groups), default=None),
        min([available, *(free for _, free in groups), *addresses]),
        sizes.get("SwapTotal", 0),
        sizes.get("SwapFree", 0),
    )


def _addresses_left(root: Path) -> list[int]:
    """Returns what ``ulimit -v`` leaves this process, in bytes; nothing without it."""
    with suppress(ValueError, IndexError):
        for line in read_text(root / "proc/self/limits").splitlines():
            if line.startswith("Max address space"):
                limit = int(line.split()[3])  # "unlimited" is not a number
                pages = int(read_text(root / "proc/self/statm").split()[0])
                return [max(0, limit - pages * os.sysconf("SC_PAGE_SIZE"))]
    return []


def _limits(root: Path) -> Iterator[tuple[int, int]]:
    """Yields the limit and the free bytes of each control group this process is in.

    Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst. A group
    counts its page cache as used; the inactive part is given back on demand.
    """
    mount = root / "sys/fs/cgroup"
    for line in read_text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if controllers == "":
            base, files = mount, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = mount / "memory"
            files = (
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file",
            )
        else:
            continue
        # Within a container the group may be mounted at the top, whatever its name.
        folder = Path(name.lstrip("/"))
        for group in (base / folder, *(base / parent for parent in folder.parents)):
            limit, used = read_int(group / files[0]), read_int(group / files[1])
            if limit is None or used is None:  # "max", or no such file
                continue
            cache = read_fields(group / "memory.stat", " ").get(files[2], "0")
            inactive = int(cache) if cache.isdecimal() else 0
            yield limit, max(0, limit - used + inactive)


def limits_memory(root: Path = ROOT) -> bool | None:
    """Returns whether the kernel can limit a service's memory (control groups 2).

    None on a system without control groups 2.
    """
    controllers = root / "sys/fs/cgroup/cgroup.controllers"
    if not controllers.is_file():
        return None
    return "memory" in read_text(controllers).split()


def resident_mb(root: Path = ROOT) -> float | None:
    """Returns this process's resident memory in megabytes (10**6 bytes)."""
    with suppress(ValueError, IndexError):
        pages = int(read_text(root / "proc/self/statm").split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
    return None
