"""The figures that are required of the pipeline."""

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
    """A figure and its limit.

    Attributes:
        name: What was measured.
        value: The figure.
        limit: The limit; None for a figure that is only reported.
        at_least: The limit is the lowest value allowed; else the highest.
        unit: ``"x"``, ``"share"`` or ``"MiB"``.
    """

    name: str
    value: float
    limit: float | None
    at_least: bool
    unit: str

    @property
    def met(self) -> bool | None:
        """Whether the value is within its limit; None without a limit."""
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
    """Returns the requirements with the figures of a run.

    Args:
        loops: Records of the tutorial's loop and of ours.
        ages: Records of live sources; modes that no command has are only reported.
        predict: Record of ``predict`` beside the bare call.
        start: Record of start-up and memory.
    """
    required = []
    for loop in loops[1:]:
        name, speed = loop["name"], loop["speed_up"]["median"]
        least, matched = LEAST_SPEED_UP[name], loop["boxes"]["matched_share"]
        required += [
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
    required.append(
        Requirement("predict over the bare call", over, MOST_OVER_BARE, False, "x")
    )
    for age in ages:
        required += _age_requirements(age)
    required += [
        Requirement(
            "first label over a bare script", start["ratio"], MOST_START, False, "x"
        ),
    ]
    memory = (
        ("memory at its first label", start["ours_peak_mb"], MOST_MEMORY_MB),
        ("with page and MQTT", start["service_peak_mb"], MOST_SERVICE_MEMORY_MB),
    )
    return required + [
        Requirement(name, peak, most, False, "MiB")
        for name, peak, most in memory
        if peak is not None
    ]


def _age_requirements(age: Document) -> list[Requirement]:
    mode = "frames wait" if age["waits"] else "as run does"
    name, periods = "age p95 over the period", age["age_periods"]
    if not age["turns"]:  # no command has this mode
        return [Requirement(f"{mode}, no turns: {name}", periods, None, False, "x")]
    faster, classified_ms = age["camera_over_pipeline"], age["classified_age_p95_ms"]
    required = [
        Requirement(f"{mode}: {name}", periods, MOST_AGE_PERIODS, False, "x"),
        Requirement(
            f"{mode}: camera's rate over ours",
            faster,
            LEAST_CAMERA_OVER_PIPELINE,
            True,
            "x",
        ),
    ]
    if classified_ms is None:  # no face
        return required
    share, over = age["classified_share"], classified_ms / age["period_ms"]
    return [
        *required,
        Requirement(
            f"{mode}: faces classified in that frame", share, None, True, "share"
        ),
        Requirement(
            f"{mode}: age p95 of each face's own frame", over, None, False, "x"
        ),
    ]
