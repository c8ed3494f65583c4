"""Whether the conditions of a measurement were good enough: VALID or INVALID."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_runtime.errors import MeasurementError

MOST_OTHERS = 0.1  # of all cores' time, used by other programs
LEAST_FREQUENCY = 0.9  # of the highest
HOTTEST_C = 80.0  # a Raspberry Pi slows down from here on
LARGEST_SPREAD = 3.0
# Keys of the conditions, and their names in messages.
CONDITION_NAMES = {
    "others_cpu_share": "competing load",
    "lowest_frequency_mhz": "frequency",
    "highest_temperature_c": "temperature",
    "throttled": "throttling",
    "swapped_pages": "swap",
}


def verdict(
    conditions: dict[str, Any], results: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """Returns whether a measurement is valid, JSON-ready.

    Args:
        conditions: As ``ConditionMonitor.finish`` returns them.
        results: Rows with ``model``, ``threads``, ``spread`` and ``stable``.

    Returns:
        valid; reasons, empty where valid; unknown, the conditions that the machine does
        not report, which are not judged.
    """
    reasons = [
        *_machine_reasons(conditions),
        *_frequency_reasons(conditions),
        *_timing_reasons(results),
    ]
    unknown = [name for key, name in CONDITION_NAMES.items() if conditions[key] is None]
    if not conditions["after"]["governor"]:
        unknown.append("governor")
    return {"valid": not reasons, "reasons": reasons, "unknown": unknown}


def verdict_lines(document: dict[str, Any]) -> list[str]:
    """Returns a document's verdict as lines of text."""
    found = document["verdict"]
    lines = ["measurement " + ("VALID" if found["valid"] else "INVALID")]
    lines += [f"  {reason}" for reason in found["reasons"]]
    if found["unknown"]:
        lines.append(f"  not known here: {', '.join(found['unknown'])}")
    return lines


def require_valid(document: dict[str, Any]) -> None:
    """Does nothing for a valid measurement.

    Raises:
        MeasurementError: It is not; exit code 4.
    """
    if not document["verdict"]["valid"]:
        reasons = "; ".join(document["verdict"]["reasons"])
        raise MeasurementError(
            f"expected a valid measurement, got an INVALID one: {reasons}; correct that"
            " and measure again"
        )


def _machine_reasons(conditions: dict[str, Any]) -> list[str]:
    reasons = []
    others = conditions["others_cpu_share"]
    if others is not None and others > MOST_OTHERS:
        reasons.append(
            f"other programs used {others:.0%} of the processor, valid is up to"
            f" {MOST_OTHERS:.0%}: stop them"
        )
    hottest = conditions["highest_temperature_c"]
    if hottest is not None and hottest >= HOTTEST_C:
        reasons.append(
            f"{hottest:.0f} degrees Celsius, valid is below {HOTTEST_C:.0f}: cool it"
        )
    if conditions["throttled"]:
        named = ", ".join(conditions["throttled"])
        reasons.append(f"the board reports: {named}: better power supply or cooling")
    if conditions["swapped_pages"]:
        reasons.append(
            f"{conditions['swapped_pages']:,} pages were swapped: free memory"
        )
    return reasons


def _frequency_reasons(conditions: dict[str, Any]) -> list[str]:
    reasons = []
    before, after = conditions["before"]["governor"], conditions["after"]["governor"]
    if before != after:
        reasons.append(f"the governor changed from {before!r} to {after!r}")
    if "powersave" in (before, after) and _below_highest(conditions):
        reasons.append("the governor is 'powersave': set 'performance'")
    elif _below_highest(conditions):
        reasons.append(
            f"the clock fell to {conditions['lowest_frequency_mhz']} of"
            f" {conditions['after']['max_frequency_mhz']} MHz: set the governor"
            " 'performance', or cool the board"
        )
    return reasons


def _below_highest(conditions: dict[str, Any]) -> bool:
    lowest, highest = (
        conditions["lowest_frequency_mhz"],
        conditions["after"]["max_frequency_mhz"],
    )
    return bool(lowest and highest and lowest < LEAST_FREQUENCY * highest)


def _timing_reasons(results: Sequence[dict[str, Any]]) -> list[str]:
    reasons = []
    for row in results:
        where = f"{row['model']} on {row['threads']} thread(s)"
        if row["spread"] > LARGEST_SPREAD:
            reasons.append(
                f"{where}: slow blocks took {row['spread']:.1f} times as long as fast"
                f" ones, valid is up to {LARGEST_SPREAD:.0f}: stop other programs"
            )
        if not row["stable"]:
            reasons.append(
                f"{where}: its median still moved at the end: stop other programs, or"
                " wait some minutes after a board was started"
            )
    return reasons
