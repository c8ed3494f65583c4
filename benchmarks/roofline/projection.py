"""How long a model may take on boards that are not here: ranges, never figures.

From sustained rates that others have published for convolutional networks, not from a
measurement of this model: XNNPACK's README (2022), ncnn's benchmark/README, Arm's
ExecuTorch course and model cards. Where sources differ, so do the ends of the range.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.common.documents import Document
from edge_runtime.inspection.analyzer import Layer

Range = tuple[float, float]
CALL_MS: Range = (0.05, 0.3)  # Python around an inference
SMALL_LAYERS = 3.0  # what threads lose on layers of a few MMACs, at the worst
LEAST_INT8_SHARE = 0.9  # of the MACs; below, the published int8 rates say nothing


@dataclass(frozen=True)
class Board:
    """A board, and what is published of it.

    Attributes:
        name: For people.
        core: Its core and clock.
        one_thread: GMAC/s of int8 networks on one thread, low and high.
        four_mobile: On four threads, networks with depthwise convolutions.
        four_dense: On four threads, dense 3x3 convolutions.
        gain: How many times as fast int8 is as float32.
        peak: GMAC/s of one core that cannot be exceeded, in int8 and in float32.
    """

    name: str
    core: str
    one_thread: Range
    four_mobile: Range
    four_dense: Range
    gain: Range
    peak: Range


BOARDS = (
    Board(
        "Raspberry Pi Zero 2 W",
        "Cortex-A53, 1.0 GHz",
        (2, 2.5),
        (6, 9),
        (9, 10),
        (2.5, 2.6),
        (8.0, 4.0),
    ),
    Board(
        "Raspberry Pi 3B+",
        "Cortex-A53, 1.4 GHz",
        (3, 4),
        (8.5, 12),
        (11, 13),
        (2.5, 2.6),
        (11.2, 5.6),
    ),
    Board(
        "Raspberry Pi 4",
        "Cortex-A72, 1.5 to 1.8 GHz",
        (6, 8),
        (17, 24),
        (22, 28),
        (2.7, 3.2),
        (14.4, 7.2),
    ),
    Board(
        "Raspberry Pi 5",
        "Cortex-A76, 2.4 GHz",
        (25, 40),
        (65, 75),
        (110, 230),
        (2.7, 3.6),
        (76.8, 19.2),
    ),
)


def project(layers: Sequence[Layer]) -> list[Document]:
    """Returns the projected range of every board, JSON-ready; always marked projected.

    time = call + dense MACs / dense rate + depthwise MACs / mobile rate.

    Args:
        layers: Of the model's inventory: all in int8, or all in float32.

    Returns:
        One entry for each board and 1 and 4 threads; empty for a model that computes
        in both or in other types.
    """
    depthwise = _macs(one for one in layers if "DEPTHWISE" in one.operator)
    total = _macs(layers)
    int8 = _macs(one for one in layers if one.dtype == "int8")
    floats = _macs(one for one in layers if one.dtype == "float32")
    if not total or max(int8, floats) < LEAST_INT8_SHARE * total:
        return []
    found = []
    for board in BOARDS:
        gain = board.gain if floats > int8 else (1.0, 1.0)
        peak = board.peak[floats > int8]
        for threads in (1, 4):
            low, high = _range_ms(board, threads, total - depthwise, depthwise, gain)
            floor = 1e-6 * total / (peak * threads)
            found.append(
                {
                    "projected": True,
                    "board": board.name,
                    "core": board.core,
                    "threads": threads,
                    "ms": [max(low, CALL_MS[0] + floor), high],
                    "floor_ms": floor,
                }
            )
    return found


def _range_ms(
    board: Board, threads: int, dense: int, depthwise: int, gain: Range
) -> Range:
    dense_rate = board.one_thread if threads == 1 else board.four_dense
    mobile_rate = board.one_thread if threads == 1 else board.four_mobile
    losses = 1.0 if threads == 1 else SMALL_LAYERS
    fast = 1e-6 * (dense / dense_rate[1] + depthwise / mobile_rate[1])
    slow = 1e-6 * (dense / dense_rate[0] + depthwise / mobile_rate[0]) * losses
    return CALL_MS[0] + fast * gain[0], CALL_MS[1] + slow * gain[1]


def _macs(layers: Iterable[Layer]) -> int:
    return sum(one.macs or 0 for one in layers)
