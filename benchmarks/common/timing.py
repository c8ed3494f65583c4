"""Times calls interleaved, so that a noisy machine slows all of them alike.

A block of runs of the first call, a block of the second, and so on: a round. The ratio
of two blocks of one round holds where milliseconds do not. Some rounds make a window;
measuring ends when the medians of the windows no longer move.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.utils.stderr import progress_counter

PERCENTILES = (50, 90, 99)
LEAST_RUNS = 200  # below, a 99th percentile is one or two calls

HISTOGRAM_BINS = 60
HISTOGRAM_PERCENTILE = 99.5  # what lies above is one count

Call = Callable[[], object]
Clock = Callable[[], float]  # seconds
Block = Sequence[float]  # milliseconds


@dataclass(frozen=True)
class Protocol:
    """How long to measure; part of the result.

    All are per call. Lengths are minima, but for ``most_seconds``.

    Attributes:
        name: Its name.
        runs: Measured runs.
        seconds: Time in measured runs.
        windows: Number of windows.
        window_seconds: Time of a window.
        stable_frac: Measuring goes on while the medians of the later half of the last
            ``windows`` windows differ by more than this share from the earlier half's.
        most_seconds: Time after which it ends, stable or not.
        block_runs: Runs of a block.
        block_seconds: Time of a block, so that a fast call is not measured in a single
            quiet moment.
        warmup_runs: Runs before anything is measured.
        warmup_seconds: Time of these runs.
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
    """The times of one call.

    Attributes:
        warmup_runs: Runs before anything was measured.
        blocks: Milliseconds of each run, by block.
        window_ends: Number of blocks at the end of each window.
    """

    warmup_runs: int = 0
    blocks: list[Block] = field(default_factory=list)
    window_ends: list[int] = field(default_factory=list)

    def reached(self, runs: int, seconds: float, first: int = 0) -> bool:
        """Returns whether the blocks from number ``first`` on are that long."""
        measured = sum(len(block) for block in self.blocks[first:])
        milliseconds = sum(sum(block) for block in self.blocks[first:])
        return measured >= runs and milliseconds >= 1e3 * seconds

    def times(self) -> npt.NDArray[np.float64]:
        """Returns the milliseconds of all runs, float64 (runs,), in order."""
        return np.concatenate([np.asarray(block) for block in self.blocks])

    def percentiles(self) -> dict[str, float | int]:
        """Returns p50, p90 and p99 in ms over all blocks, and the number of runs."""
        return _percentiles(self.times())

    def windows(self) -> list[dict[str, float | int]]:
        """Returns p50, p90, p99, runs and inferences per second of every window."""
        return [
            {**_percentiles(times), "per_second": 1e3 * len(times) / float(times.sum())}
            for times in map(self._of_window, range(len(self.window_ends)))
        ]

    def medians(self) -> list[float]:
        """Returns the median of every block in ms."""
        return [float(np.median(block)) for block in self.blocks]

    def spread(self) -> float:
        """Returns how many times as long slow blocks took as fast ones, at least 1.

        The 95th over the 5th percentile of the blocks' medians.
        """
        fast, slow = np.percentile(self.medians(), [5, 95])
        return float(slow / fast)

    def stable(self, protocol: Protocol) -> bool:
        """Returns whether the windows' medians no longer move.

        True as well with a single window.
        """
        count = len(self.window_ends)
        numbers = range(max(0, count - protocol.windows), count)
        medians = [np.median(self._of_window(number)) for number in numbers]
        half = len(medians) // 2
        if half == 0:
            return True
        change = float(np.median(medians[half:]) / np.median(medians[:half]))
        return abs(change - 1) <= protocol.stable_frac

    def _of_window(self, number: int) -> npt.NDArray[np.float64]:
        first = self.window_ends[number - 1] if number else 0
        blocks = self.blocks[first : self.window_ends[number]]
        return np.concatenate([np.asarray(block) for block in blocks])


def time_interleaved(
    calls: Sequence[Call],
    protocol: Protocol,
    *,
    after_window: Callable[[], None] = lambda: None,
    clock: Clock = time.perf_counter,
) -> list[Timings]:
    """Returns the timings of every call, measured block by block in rotation.

    Ends when all of them are long enough and stable, or after ``most_seconds`` each;
    all have the same number of blocks.

    Args:
        calls: The calls.
        protocol: How long to measure.
        after_window: Called between windows; its time does not count.
        clock: Returns seconds.
    """

    def run_block(call: Call, runs: int, seconds: float) -> Block:
        return repeat(call, runs, seconds, clock=clock)

    timings = [
        Timings(len(run_block(call, protocol.warmup_runs, protocol.warmup_seconds)))
        for call in calls
    ]
    expected = max(1, round(protocol.seconds / max(1e-9, protocol.window_seconds)))
    with progress_counter(expected, "timing", unit="window") as step:
        while not _done(timings, protocol):
            _measure_window(calls, timings, protocol, run_block)
            after_window()
            step(1)
    return timings


def ratio(timings: Timings, reference: Timings) -> dict[str, float | int]:
    """Returns how many times as long as a reference a call takes; below 1 is faster.

    The ratio is that of the medians of two blocks of one round.

    Returns:
        The median, 5th and 95th percentile over the rounds; turns, their number.
    """
    pairs = zip(timings.medians(), reference.medians(), strict=True)
    ratios = [median / reference_median for median, reference_median in pairs]
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


def repeat(
    call: Call, runs: int, seconds: float, *, clock: Clock = time.perf_counter
) -> Block:
    """Returns the milliseconds of each run of a call.

    Nothing but two readings of the clock is around a run.

    Args:
        call: The call.
        runs: Fewest runs.
        seconds: Shortest time of all runs.
        clock: Returns seconds.
    """
    end = clock() + seconds
    times = array("d")
    finished = 0.0
    while len(times) < runs or finished < end:
        started = clock()
        call()
        finished = clock()
        times.append(1e3 * (finished - started))
    return times


def _measure_window(
    calls: Sequence[Call],
    timings: Sequence[Timings],
    protocol: Protocol,
    run_block: Callable[[Call, int, float], Block],
) -> None:
    first = len(timings[0].blocks)
    while True:
        for call, timing in zip(calls, timings, strict=True):
            block = run_block(call, protocol.block_runs, protocol.block_seconds)
            timing.blocks.append(block)
        if all(each.reached(1, protocol.window_seconds, first) for each in timings):
            break
    for timing in timings:
        timing.window_ends.append(len(timing.blocks))


def _done(timings: Sequence[Timings], protocol: Protocol) -> bool:
    if len(timings[0].window_ends) < protocol.windows:
        return False
    if not all(each.reached(protocol.runs, protocol.seconds) for each in timings):
        return False
    if all(each.reached(1, protocol.most_seconds) for each in timings):
        return True
    return all(each.stable(protocol) for each in timings)


def _percentiles(times: npt.NDArray[np.float64]) -> dict[str, float | int]:
    values = np.percentile(times, PERCENTILES)
    named = {
        f"p{percent}": float(value)
        for percent, value in zip(PERCENTILES, values, strict=True)
    }
    return {**named, "runs": len(times)}


def histogram(times_ms: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Returns counts in bins of equal width from the shortest time on, JSON-ready.

    Args:
        times_ms: float64 (runs,), milliseconds.

    Returns:
        from_ms and to_ms of the bins, their counts, and longer, the runs above.
    """
    low = float(times_ms.min())
    high = max(float(np.percentile(times_ms, HISTOGRAM_PERCENTILE)), low * (1 + 1e-6))
    counts, _ = np.histogram(times_ms, bins=HISTOGRAM_BINS, range=(low, high))
    return {
        "from_ms": low,
        "to_ms": high,
        "counts": counts.tolist(),
        "longer": int((times_ms > high).sum()),
    }
