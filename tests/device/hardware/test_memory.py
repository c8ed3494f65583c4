"""Memory as the kernel reports it, with the limit of a container or service."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_runtime.hardware.board import limits_memory, read_memory, resident_mb

MIB = 2**20
MEMINFO = "MemTotal: 4194304 kB\nMemFree: 1 kB\nMemAvailable: 3145728 kB\n"
V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/memory"
UNLIMITED_V1 = "9223372036854771712\n"


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in ({"proc/meminfo": MEMINFO} | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def group_v2(folder: str, limit: str, used: int, cache: int = 0) -> dict[str, str]:
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{used}\n",
        f"{folder}/memory.stat": f"anon {used}\ninactive_file {cache}\n",
    }


@pytest.mark.parametrize(
    ("files", "limit_mib", "available_mib"),
    [
        pytest.param({}, None, 3072, id="no control groups"),
        pytest.param(
            {"proc/self/cgroup": "0::/\n"}
            | group_v2(V2, f"{512 * MIB}", 200 * MIB, cache=80 * MIB),
            512,
            392,
            id="container: its group is mounted at the top",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/system.slice/fer-edge.service\n"}
            | group_v2(f"{V2}/system.slice", "max", 900 * MIB)
            | group_v2(f"{V2}/system.slice/fer-edge.service", f"{400 * MIB}", 90 * MIB),
            400,
            310,
            id="service",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/outer/inner\n"}
            | group_v2(f"{V2}/outer", f"{600 * MIB}", 500 * MIB)
            | group_v2(f"{V2}/outer/inner", f"{800 * MIB}", 100 * MIB),
            600,
            100,
            id="the tightest of all groups counts",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/\n"} | group_v2(V2, "max", 200 * MIB),
            None,
            3072,
            id="no limit",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n",
                f"{V1}/memory.limit_in_bytes": f"{256 * MIB}\n",
                f"{V1}/memory.usage_in_bytes": f"{100 * MIB}\n",
                f"{V1}/memory.stat": f"cache 7\ntotal_inactive_file {50 * MIB}\n",
            },
            256,
            206,
            id="version 1",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "4:memory:/\n",
                f"{V1}/memory.limit_in_bytes": UNLIMITED_V1,
                f"{V1}/memory.usage_in_bytes": f"{100 * MIB}\n",
            },
            None,
            3072,
            id="version 1 without a limit",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/\n"} | group_v2(V2, f"{64 * MIB}", 65 * MIB),
            64,
            0,
            id="over its limit",
        ),
        pytest.param({"proc/self/cgroup": "garbage\n::\n"}, None, 3072, id="garbage"),
    ],
)
def test_available_memory_respects_the_limit(
    tmp_path: Path, files: dict[str, str], limit_mib: int | None, available_mib: int
) -> None:
    memory = read_memory(plant(tmp_path, files))
    assert memory is not None
    assert memory.total == 4096 * MIB
    assert memory.limit == (None if limit_mib is None else limit_mib * MIB)
    assert memory.available == available_mib * MIB


@pytest.mark.parametrize("text", ["", "MemTotal:\n", "MemTotal: many kB\n"])
def test_machine_that_does_not_report_its_memory(tmp_path: Path, text: str) -> None:
    plant(tmp_path, {"proc/meminfo": text})
    assert read_memory(tmp_path) is None


def test_memory_of_this_machine() -> None:
    memory, resident = read_memory(), resident_mb()
    assert memory is not None
    assert resident is not None
    assert 0 < memory.available <= memory.total
    assert 1 < resident < memory.total / 1e6


@pytest.mark.parametrize(
    ("controllers", "expected"),
    [("cpu io memory pids\n", True), ("cpu io\n", False), (None, None)],
)
def test_whether_the_kernel_can_limit_a_service(
    tmp_path: Path, controllers: str | None, expected: bool | None
) -> None:
    if controllers is not None:
        plant(tmp_path, {f"{V2}/cgroup.controllers": controllers})
    assert limits_memory(tmp_path) is expected


@pytest.mark.parametrize(
    ("limits", "available_mib"),
    [
        (
            "Max address space         unlimited            unlimited            bytes",
            3072,
        ),
        (
            "Max address space         1073741824           unlimited            bytes",
            924,
        ),
        (
            "Max address space         1048576              1048576              bytes",
            0,
        ),
        (
            "Max open files            1024                 1024                 files",
            3072,
        ),
    ],
    ids=["unlimited", "limit", "used-up", "no-such-line"],
)
def test_limit_of_the_shell_counts(tmp_path, limits, available_mib):
    """``ulimit -v``; 100 MiB of addresses are in use."""
    pages = 100 * MIB // os.sysconf("SC_PAGE_SIZE")
    files = {"proc/self/limits": f"Limit\n{limits}\n"}
    root = plant(tmp_path, files | {"proc/self/statm": f"{pages} 5 1 1 0 2 0\n"})
    memory = read_memory(root)
    assert memory is not None
    assert memory.available // MIB == available_mib
