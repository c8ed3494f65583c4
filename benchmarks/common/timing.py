"""Times calls in turns, so that a noisy machine is unfair to none of them.

A block of calls of the first, one of the second, and again. What slows the machine
down then slows all of them, and the ratio of two blocks that stand side by side holds
where milliseconds do not. Some rounds make a window; windows go on until their medians
no longer move.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from train.progress import progress_counter

PERCENTILES = (50, 90, 99)

LEAST_RUNS = 200  # below, a 99th percentile is one or two calls

Call = Callable[[], object]

Block = Sequence[float]  # milliseconds


@dataclass(frozen=True)
class Protocol:
    """How long is measured; written into the result.

    Attributes:
        name: What it is called.
        runs: Fewest times that each call is measured.
        seconds: Shortest time spent in each.
        windows: Fewest windows.
        window_seconds: Shortest time that a window measures each call.
        stable_frac: The medians of the later half of the last ``windows`` windows may
            differ by this share from those of the earlier half; else it goes on.
        most_seconds: At most so long for each call, stable or not.
        block_runs: Fewest times before it is another's turn.
        block_seconds: Shortest time before it is another's turn, so that a fast call
            is not measured in a moment that happens to be quiet.
        warmup_runs: Fewest times each is called before anything is measured.
        warmup_seconds: Shortest time spent in that.
    """

    name: str = "standard"
    runs: int = LEAST_RUNS
    seconds: float = 2.0
    windows: int = 10
    window_seconds: float = 0.2
    stable_frac: float = 0.02
    most_seconds: float = 10.0
    block_runs: int = 20
    block_seconds: float = 0.1
    warmup_runs: int = 20
    warmup_seconds: float = 0.3


# Banbury et al., "MLPerf Tiny Benchmark" (2021): five times at least ten seconds and
# ten inferences; the figure is the median of the inferences per second.
MLPERF_TINY = Protocol(
    name="mlperf-tiny",
    runs=50,
    seconds=50.0,
    windows=5,
    window_seconds=10.0,
    most_seconds=50.0,
    block_runs=10,
)


@dataclass
class Timings:
    """How long one call took.

    Attributes:
        warmup_runs: Times it was called before anything was measured.
        blocks: Milliseconds of each call, one list per turn.
        window_ends: How many blocks there were at the end of each window.
    """

    warmup_runs: int = 0
    blocks: list[Block] = field(default_factory=list)
    window_ends: list[int] = field(default_factory=list)

    def reached(self, runs: int, seconds: float, first: int = 0) -> bool:
        """Returns whether the blocks from the first one on hold so much."""
        counted = sum(len(block) for block in self.blocks[first:])
        milliseconds = sum(sum(block) for block in self.blocks[first:])
        return counted >= runs and milliseconds >= 1e3 * seconds

    def times(self) -> npt.NDArray[np.float64]:
        """Returns the milliseconds of all calls, float64 (runs,), in order."""
        return np.concatenate([np.asarray(block) for block in self.blocks])

    def percentiles(self) -> dict[str, float | int]:
        """Returns p50, p90 and p99 in ms over all turns, and the number of runs."""
        return _percentiles(self.times())

    def windows(self) -> list[dict[str, float | int]]:
        """Returns p50, p90, p99, runs and inferences per second of every window."""
        return [
            {**_percentiles(one), "per_second": 1e3 * len(one) / float(one.sum())}
            for one in map(self._of_window, range(len(self.window_ends)))
        ]

    def medians(self) -> list[float]:
        """Returns the median of every turn in ms."""
        return [float(np.median(block)) for block in self.blocks]

    def spread(self) -> float:
        """Returns how many times as long slow turns took as fast ones, at least 1.

        The 95th over the 5th percentile of the turns' medians.
        """
        fast, slow = np.percentile(self.medians(), [5, 95])
        return float(slow / fast)

    def stable(self, protocol: Protocol) -> bool:
        """Returns whether the windows' medians no longer move.

        True as well where there are too few windows to say.
        """
        count = len(self.window_ends)
        numbers = range(max(0, count - protocol.windows), count)
        last = [np.median(self._of_window(number)) for number in numbers]
        half = len(last) // 2
        if half == 0:
            return True
        moved = float(np.median(last[half:]) / np.median(last[:half]))
        return abs(moved - 1) <= protocol.stable_frac

    def _of_window(self, number: int) -> npt.NDArray[np.float64]:
        first = self.window_ends[number - 1] if number else 0
        blocks = self.blocks[first : self.window_ends[number]]
        return np.concatenate([np.asarray(block) for block in blocks])


def time_interleaved(
    calls: Sequence[Call],
    protocol: Protocol,
    *,
    after_window: Callable[[], None] = lambda: None,
) -> list[Timings]:
    """Returns the timings of every call, measured block by block in rotation.

    Ends when all of them have enough and are stable, or after ``most_seconds`` each;
    all get the same number of turns.

    Args:
        calls: What to time.
        protocol: How long.
        after_window: Called between windows, outside of what is timed.
    """
    timings = [Timings(_warm_up(call, protocol)) for call in calls]
    expected = max(1, round(protocol.seconds / max(1e-9, protocol.window_seconds)))
    with progress_counter(expected, "timing", unit="window") as step:
        while not _done(timings, protocol):
            _window(calls, timings, protocol)
            after_window()
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


def repeat(call: Call, runs: int, seconds: float) -> Block:
    """Returns the milliseconds of each call, made so often and for so long at least.

    Nothing but two readings of the clock stands around a call.
    """
    clock = time.perf_counter
    end = clock() + seconds
    times = array("d")
    finished = 0.0
    while len(times) < runs or finished < end:
        started = clock()
        call()
        finished = clock()
        times.append(1e3 * (finished - started))
    return times


def _warm_up(call: Call, protocol: Protocol) -> int:
    return len(repeat(call, protocol.warmup_runs, protocol.warmup_seconds))


def _window(
    calls: Sequence[Call], timings: Sequence[Timings], protocol: Protocol
) -> None:
    first = len(timings[0].blocks)
    while True:
        for call, timing in zip(calls, timings, strict=True):
            block = repeat(call, protocol.block_runs, protocol.block_seconds)
            timing.blocks.append(block)
        if all(one.reached(1, protocol.window_seconds, first) for one in timings):
            break
    for timing in timings:
        timing.window_ends.append(len(timing.blocks))


def _done(timings: Sequence[Timings], protocol: Protocol) -> bool:
    if len(timings[0].window_ends) < protocol.windows:
        return False
    if not all(one.reached(protocol.runs, protocol.seconds) for one in timings):
        return False
    bound = all(one.reached(1, protocol.most_seconds) for one in timings)
    return bound or all(one.stable(protocol) for one in timings)


def _percentiles(times: npt.NDArray[np.float64]) -> dict[str, float | int]:
    values = np.percentile(times, PERCENTILES)
    named = {
        f"p{percent}": float(value)
        for percent, value in zip(PERCENTILES, values, strict=True)
    }
    return {**named, "runs": len(times)}


BINS = 60

SHOWN_PERCENTILE = 99.5  # what lies above is one count


def histogram(times_ms: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Returns counts in bins of equal width from the shortest time on, JSON-ready.

    Args:
        times_ms: float64 (runs,), milliseconds.

    Returns:
        from_ms and to_ms of the bins, their counts, and how many runs took longer.
    """
    low = float(times_ms.min())
    high = max(float(np.percentile(times_ms, SHOWN_PERCENTILE)), low * (1 + 1e-6))
    counts, _ = np.histogram(times_ms, bins=BINS, range=(low, high))
    return {
        "from_ms": low,
        "to_ms": high,
        "counts": counts.tolist(),
        "longer": int((times_ms > high).sum()),
    }
