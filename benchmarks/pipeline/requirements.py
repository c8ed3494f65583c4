"""What the pipeline must reach, and whether a run did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.common.documents import Document

LEAST_SPEED_UP = {"haar": 6.0, "yunet": 20.0}
LEAST_MATCHED = 0.9
MOST_AROUND = 0.10
MOST_OVER_BARE = 1.15
MOST_AGE_PERIODS = 2.0
LEAST_CAMERA_OVER_PIPELINE = 1.5  # else the age says nothing
MOST_START = 1.5
MOST_MEMORY_MB = 90.0
MOST_SERVICE_MEMORY_MB = 150.0


@dataclass(frozen=True)
class Requirement:
    """A figure and what it must be.

    Attributes:
        name: What was measured.
        value: The figure.
        limit: What it is held against; None for what is only told.
        at_least: It must not be less; else not more.
        unit: ``"x"``, ``"share"`` or ``"MiB"``.
    """

    name: str
    value: float
    limit: float | None
    at_least: bool
    unit: str

    @property
    def met(self) -> bool | None:
        """Whether it is what it must be; None where it need not be anything."""
        if self.limit is None:
            return None
        if self.at_least:
            return self.value >= self.limit
        return self.value <= self.limit


def requirements(
    loops: Sequence[Document],
    ages: Sequence[Document],
    predict: Document,
    start: Document,
) -> list[Requirement]:
    """Returns what a run was to show and what it showed.

    Args:
        loops: The tutorial's and ours, as recorded.
        ages: Of live sources; what no command does is left out.
        predict: ``predict`` over the bare call.
        start: To the first label, and memory.
    """
    found = []
    for loop in loops[1:]:
        name, speed = loop["name"], loop["speed_up"]["median"]
        least, matched = LEAST_SPEED_UP[name], loop["boxes"]["matched_share"]
        found += [
            Requirement(f"{name}: frames/s over tutorial's", speed, least, True, "x"),
            Requirement(
                f"{name}: frames with every box", matched, LEAST_MATCHED, True, "share"
            ),
            Requirement(
                f"{name}: the same of a camera",
                loop["boxes_of_a_camera"]["matched_share"],
                LEAST_MATCHED,
                True,
                "share",
            ),
            Requirement(
                f"{name}: around detector and network",
                loop["around_share"],
                MOST_AROUND,
                False,
                "share",
            ),
        ]
    over = predict["ratio"]["median"]
    found.append(
        Requirement("predict over the bare call", over, MOST_OVER_BARE, False, "x")
    )
    for age in ages:
        found += _age_requirements(age)
    found += [
        Requirement(
            "first label over a bare script", start["ratio"], MOST_START, False, "x"
        ),
    ]
    memory = (
        ("memory at its first label", start["ours_peak_mb"], MOST_MEMORY_MB),
        ("with page and MQTT", start["service_peak_mb"], MOST_SERVICE_MEMORY_MB),
    )
    return found + [
        Requirement(name, peak, most, False, "MiB")
        for name, peak, most in memory
        if peak is not None
    ]


def _age_requirements(age: Document) -> list[Requirement]:
    how = "frames wait" if age["waits"] else "as run does"
    name, periods = "age p95 over the period", age["age_periods"]
    if not age["turns"]:  # no command does so
        return [Requirement(f"{how}, no turns: {name}", periods, None, False, "x")]
    faster, classified_ms = age["camera_over_pipeline"], age["classified_age_p95_ms"]
    found = [
        Requirement(f"{how}: {name}", periods, MOST_AGE_PERIODS, False, "x"),
        Requirement(
            f"{how}: camera's rate over ours",
            faster,
            LEAST_CAMERA_OVER_PIPELINE,
            True,
            "x",
        ),
    ]
    if classified_ms is None:  # nobody was there
        return found
    share, over = age["classified_share"], classified_ms / age["period_ms"]
    return [
        *found,
        Requirement(
            f"{how}: faces classified in that frame", share, None, True, "share"
        ),
        Requirement(f"{how}: age p95 of each face's own frame", over, None, False, "x"),
    ]
