"""Times calls in turns, so that a noisy machine is unfair to none of them.

A block of calls of the first, one of the second, and again. What slows the machine
down then slows all of them, and the ratio of two blocks that stand side by side holds
where milliseconds do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from train.progress import progress_counter

PERCENTILES = (50, 90, 99)
LEAST_RUNS = 200  # below, a 99th percentile is one or two calls

Call = Callable[[], object]


@dataclass(frozen=True)
class Protocol:
    """How long is measured; written into the result.

    Attributes:
        runs: Fewest times that each call is measured.
        seconds: Shortest time spent in each.
        block_runs: Fewest times before it is another's turn.
        block_seconds: Shortest time before it is another's turn, so that a fast call
            is not measured in a moment that happens to be quiet.
        warmup_runs: Fewest times each is called before anything is measured.
        warmup_seconds: Shortest time spent in that.
    """

    runs: int = LEAST_RUNS
    seconds: float = 2.0
    block_runs: int = 20
    block_seconds: float = 0.1
    warmup_runs: int = 20
    warmup_seconds: float = 0.3


@dataclass
class Timings:
    """How long one call took.

    Attributes:
        warmup_runs: Times it was called before anything was measured.
        blocks: Milliseconds of each call, one list per turn.
    """

    warmup_runs: int = 0
    blocks: list[list[float]] = field(default_factory=list)

    def enough(self, protocol: Protocol) -> bool:
        """Returns whether the protocol's runs and seconds are reached."""
        runs = sum(len(block) for block in self.blocks)
        milliseconds = sum(sum(block) for block in self.blocks)
        return runs >= protocol.runs and milliseconds >= 1e3 * protocol.seconds

    def percentiles(self) -> dict[str, float | int]:
        """Returns p50, p90 and p99 in ms over all turns, and the number of runs."""
        times = np.concatenate([np.asarray(block) for block in self.blocks])
        values = np.percentile(times, PERCENTILES)
        named = {
            f"p{percent}": float(value)
            for percent, value in zip(PERCENTILES, values, strict=True)
        }
        return {**named, "runs": len(times)}

    def medians(self) -> list[float]:
        """Returns the median of every turn in ms."""
        return [float(np.median(block)) for block in self.blocks]

    def spread(self) -> float:
        """Returns how many times as long slow turns took as fast ones, at least 1.

        The 95th over the 5th percentile of the turns' medians.
        """
        fast, slow = np.percentile(self.medians(), [5, 95])
        return float(slow / fast)


def take_turns(calls: Sequence[Call], protocol: Protocol) -> list[Timings]:
    """Returns the timings of every call, measured block by block in rotation.

    Ends when all of them have enough; all get the same number of turns.

    Args:
        calls: What to time.
        protocol: How long.
    """
    timings = [Timings(_warm_up(call, protocol)) for call in calls]
    expected = max(1, round(protocol.seconds / max(1e-9, protocol.block_seconds)))
    with progress_counter(expected, "timing", unit="round") as step:
        while not all(timing.enough(protocol) for timing in timings):
            for call, timing in zip(calls, timings, strict=True):
                timing.blocks.append(_block(call, protocol))
            step(1)
    return timings


def ratio(timings: Timings, reference: Timings) -> dict[str, float | int]:
    """Returns how many times as long as a reference a call takes; below 1 is faster.

    The ratio of medians is taken turn by turn.

    Returns:
        The median, 5th and 95th percentile over the turns, and their number.
    """
    pairs = zip(timings.medians(), reference.medians(), strict=True)
    ratios = [mine / theirs for mine, theirs in pairs]
    low, middle, high = np.percentile(ratios, [5, 50, 95])
    return {
        "median": float(middle),
        "p5": float(low),
        "p95": float(high),
        "turns": len(ratios),
    }


def time_ms(call: Call) -> float:
    """Returns how long one call takes in ms."""
    started = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - started)


def _warm_up(call: Call, protocol: Protocol) -> int:
    return len(_repeat(call, protocol.warmup_runs, protocol.warmup_seconds))


def _block(call: Call, protocol: Protocol) -> list[float]:
    return _repeat(call, protocol.block_runs, protocol.block_seconds)


def _repeat(call: Call, runs: int, seconds: float) -> list[float]:
    end = time.perf_counter() + seconds
    times: list[float] = []
    while len(times) < runs or time.perf_counter() < end:
        times.append(time_ms(call))
    return times
