"""The rows of ``fer-edge/pipeline/1``, the record of the project's own requirements.

``make bench`` writes it (see tests/performance), reports show it.
"""

from __future__ import annotations

from benchmarks.common.documents import Document

SCHEMA = "fer-edge/pipeline/1"
UNITS = {"x": "{:.2f} x", "share": "{:.1%}", "MiB": "{:.0f} MiB"}


def requirement_cells(requirement: Document) -> list[str]:
    """Returns a requirement: name, figure, limit, whether it was met.

    The last two are empty where there is no limit.
    """
    value = UNITS[requirement["unit"]].format(requirement["value"])
    if requirement["limit"] is None:
        return [requirement["name"], value, "", ""]
    limit = UNITS[requirement["unit"]].format(requirement["limit"])
    sign = ">=" if requirement["at_least"] else "<="
    met = "met" if requirement["met"] else "MISSED"
    return [requirement["name"], value, f"{sign} {limit}", met]
