"""The conditions of a measurement: frequency, temperature, load, throttling, swap.

Read from /proc and /sys. What a machine does not say is None, and nothing raises.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, field
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from edge_runtime.hardware.board import read_fields, read_frequency, read_text
from edge_runtime.hardware.sensors import (
    SINCE_BOOT_SHIFT,
    highest_temperature_c,
    read_throttled,
    reasons_now,
)

ROOT = Path("/")
SHORTEST_S = 0.5  # the kernel counts processor time in hundredths of a second
BUSY = ("user", "nice", "system", "irq", "softirq", "steal")
STAT = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


@dataclass(frozen=True)
class Sample:
    """The state of the machine at one moment.

    Attributes:
        governor: Frequency governor of the first core; empty if unknown.
        frequency_mhz: Frequency of the first core.
        max_frequency_mhz: Highest frequency of that core.
        temperature_c: Highest temperature of a sensor in degrees Celsius.
        throttled: Bits of a Raspberry Pi's ``get_throttled``.
    """

    governor: str
    frequency_mhz: int | None
    max_frequency_mhz: int | None
    temperature_c: float | None
    throttled: int | None


@dataclass(frozen=True)
class Counters:
    """Counters of the kernel at one moment.

    Attributes:
        clock_s: Monotonic time in seconds.
        busy_s: CPU seconds of all programs, and those taken by the hypervisor.
        own_s: CPU seconds of this program and of child processes that have ended.
        cores: Number of cores.
        swapped_pages: Pages moved to or from swap.
    """

    clock_s: float
    busy_s: float | None
    own_s: float
    cores: int | None
    swapped_pages: int | None


@dataclass
class ConditionMonitor:
    """Records the conditions from its creation on, until ``finish``.

    Attributes:
        root: Where ``proc`` and ``sys`` are found.
        samples: The machine at the beginning and at every call of ``sample``.
    """

    root: Path = ROOT
    samples: list[Sample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._started = read_counters(self.root)
        self.sample()

    def sample(self) -> None:
        """Records the machine at this moment: reads a few small files."""
        self.samples.append(take_sample(self.root))

    def finish(self) -> dict[str, Any]:
        """Returns the conditions, JSON-ready; the keys are in the latency document."""
        self.sample()
        return conditions(self.samples, self._started, read_counters(self.root))


def conditions(
    samples: list[Sample], started: Counters, ended: Counters
) -> dict[str, Any]:
    """Returns the conditions between two moments, JSON-ready."""
    temperatures = [s.temperature_c for s in samples if s.temperature_c is not None]
    frequencies = [s.frequency_mhz for s in samples[1:] if s.frequency_mhz is not None]
    bits = [s.throttled for s in samples if s.throttled is not None]
    during = reduce(or_, bits, 0)
    # A bit from 16 on that was not set at first: it happened between two samples.
    if bits:
        during |= (bits[-1] & ~bits[0]) >> SINCE_BOOT_SHIFT
    return {
        "seconds": ended.clock_s - started.clock_s,
        "before": asdict(samples[0]),
        "after": asdict(samples[-1]),
        "highest_temperature_c": max(temperatures, default=None),
        "lowest_frequency_mhz": min(frequencies, default=None),
        "throttled": reasons_now(during) if bits else None,
        "others_cpu_share": others_share(started, ended),
        "swapped_pages": _difference(started.swapped_pages, ended.swapped_pages),
    }


def others_share(started: Counters, ended: Counters) -> float | None:
    """Returns the share of all cores' time that other programs used, 0..1.

    None where the kernel does not say, and for less than half a second.
    """
    seconds = ended.clock_s - started.clock_s
    if started.busy_s is None or ended.busy_s is None or not ended.cores:
        return None
    if seconds < SHORTEST_S:
        return None
    others = (ended.busy_s - started.busy_s) - (ended.own_s - started.own_s)
    return min(1.0, max(0.0, others / (seconds * ended.cores)))


def take_sample(root: Path = ROOT) -> Sample:
    """Returns the state of the machine at this moment."""
    frequency = read_frequency(root)
    return Sample(
        governor=frequency.governor,
        frequency_mhz=frequency.now_mhz,
        max_frequency_mhz=frequency.max_mhz,
        temperature_c=highest_temperature_c(root),
        throttled=read_throttled(root),
    )


def read_counters(root: Path = ROOT) -> Counters:
    """Returns the kernel's counters at this moment."""
    own = os.times()
    busy_s, cores = _busy(root)
    return Counters(
        clock_s=time.monotonic(),
        busy_s=busy_s,
        own_s=own.user + own.system + own.children_user + own.children_system,
        cores=cores,
        swapped_pages=_swapped(root),
    )


def _busy(root: Path) -> tuple[float | None, int | None]:
    total, cores = None, 0
    for line in read_text(root / "proc/stat").splitlines():
        name, *values = line.split() or [""]
        numbers = [int(value) for value in values if value.isdecimal()]
        if name == "cpu" and len(numbers) >= len(STAT):
            ticks = dict(zip(STAT, numbers, strict=False))
            total = sum(ticks[key] for key in BUSY) / os.sysconf("SC_CLK_TCK")
        cores += name.startswith("cpu") and name != "cpu"
    return total, cores or None


def _swapped(root: Path) -> int | None:
    fields = read_fields(root / "proc/vmstat", " ")
    pages = [fields.get(name, "") for name in ("pswpin", "pswpout")]
    return sum(map(int, pages)) if all(map(str.isdecimal, pages)) else None


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before
