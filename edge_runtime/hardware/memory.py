"""Memory of the machine, of a container that limits it, and of this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from edge_runtime.hardware.board import ROOT, read_fields, read_int, read_text


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
    return Memory(
        total,
        min((limit for limit, _ in groups), default=None),
        min([available, *(free for _, free in groups)]),
        sizes.get("SwapTotal", 0),
        sizes.get("SwapFree", 0),
    )


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
