"""VALID or INVALID: may the figures of a measurement be believed?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_runtime.errors import MeasurementError

MOST_OTHERS = 0.1  # of all cores' time, used by other programs
LEAST_FREQUENCY = 0.9  # of the highest
HOTTEST_C = 80.0  # a Raspberry Pi slows down from here on
LARGEST_SPREAD = 3.0
# A key of the conditions, and what it is for people.
TOLD = {
    "others_cpu_share": "competing load",
    "lowest_frequency_mhz": "frequency",
    "highest_temperature_c": "temperature",
    "throttled": "throttling",
    "swapped_pages": "swap",
}


def verdict(
    conditions: dict[str, Any], results: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """Returns whether a measurement is valid, why not, and what could not be seen.

    Args:
        conditions: What ``Watch.finish`` returned.
        results: Rows with ``model``, ``threads``, ``spread`` and ``stable``.

    Returns:
        valid, reasons (empty where valid) and unknown: what the machine does not
        tell, and what therefore was not judged. JSON-ready.
    """
    reasons = [*_machine(conditions), *_clock(conditions), *_timings(results)]
    unknown = [said for key, said in TOLD.items() if conditions[key] is None]
    if not conditions["after"]["governor"]:
        unknown.append("governor")
    return {"valid": not reasons, "reasons": reasons, "unknown": unknown}


def verdict_lines(document: dict[str, Any]) -> list[str]:
    """Returns a verdict as lines for people."""
    judged = document["verdict"]
    lines = ["measurement " + ("VALID" if judged["valid"] else "INVALID")]
    lines += [f"  {reason}" for reason in judged["reasons"]]
    if judged["unknown"]:
        lines.append(f"  not known here: {', '.join(judged['unknown'])}")
    return lines


def require_valid(document: dict[str, Any]) -> None:
    """Does nothing for a valid measurement.

    Raises:
        MeasurementError: It is not; exit code 4.
    """
    if not document["verdict"]["valid"]:
        reasons = "; ".join(document["verdict"]["reasons"])
        raise MeasurementError(
            f"expected a valid measurement, got an INVALID one: {reasons}; put that"
            " right and measure again"
        )


def _machine(seen: dict[str, Any]) -> list[str]:
    reasons = []
    others = seen["others_cpu_share"]
    if others is not None and others > MOST_OTHERS:
        reasons.append(
            f"other programs used {others:.0%} of the processor, valid is up to"
            f" {MOST_OTHERS:.0%}: stop them"
        )
    hottest = seen["highest_temperature_c"]
    if hottest is not None and hottest >= HOTTEST_C:
        reasons.append(
            f"{hottest:.0f} degrees Celsius, valid is below {HOTTEST_C:.0f}: cool it"
        )
    if seen["throttled"]:
        named = ", ".join(seen["throttled"])
        reasons.append(f"the board reports: {named}: better power supply or cooling")
    if seen["swapped_pages"]:
        reasons.append(f"{seen['swapped_pages']:,} pages were swapped: free memory")
    return reasons


def _clock(seen: dict[str, Any]) -> list[str]:
    reasons = []
    before, after = seen["before"]["governor"], seen["after"]["governor"]
    if before != after:
        reasons.append(f"the governor changed from {before!r} to {after!r}")
    if "powersave" in (before, after) and _below_highest(seen):
        reasons.append("the governor is 'powersave': set 'performance'")
    elif _below_highest(seen):
        reasons.append(
            f"the clock fell to {seen['lowest_frequency_mhz']} of"
            f" {seen['after']['max_frequency_mhz']} MHz: set the governor"
            " 'performance', or cool the board"
        )
    return reasons


def _below_highest(seen: dict[str, Any]) -> bool:
    lowest, highest = seen["lowest_frequency_mhz"], seen["after"]["max_frequency_mhz"]
    return bool(lowest and highest and lowest < LEAST_FREQUENCY * highest)


def _timings(results: Sequence[dict[str, Any]]) -> list[str]:
    reasons = []
    for one in results:
        where = f"{one['model']} on {one['threads']} thread(s)"
        if one["spread"] > LARGEST_SPREAD:
            reasons.append(
                f"{where}: slow turns took {one['spread']:.1f} times as long as fast"
                f" ones, valid is up to {LARGEST_SPREAD:.0f}: stop other programs"
            )
        if not one["stable"]:
            reasons.append(
                f"{where}: its median still moved at the end: stop other programs, or"
                " let a board that was just started rest"
            )
    return reasons
