"""The record of instruction counts (``tests/arm64``) as a table."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.common.documents import Document

SCHEMA = "fer-edge/instructions/1"
CORES = ("cortex-a53", "cortex-a72", "cortex-a76")
HEADINGS = (
    *("model", "MMACs", "library"),
    "M instructions A53 / A72 / A76",
    "% multiplications A53 / A72 / A76",
    "% lanes used A53 / A72 / A76",
)


def table_cells(document: Document) -> list[list[str]]:
    """Returns the cells of the table below ``HEADINGS``: a row a model and library.

    Args:
        document: A document ``fer-edge/instructions/1``.
    """
    rows: dict[tuple[str, ...], dict[str, Document]] = {}
    for model in document["models"]:
        for count in model["counts"]:
            library = f"{count['backend']['name']} {count['backend']['version']}"
            key = (model["name"], f"{model['macs'] / 1e6:.1f}", library)
            rows.setdefault(key, {})[count["core"]] = count
    return [
        [
            *key,
            _by_core(counts, "instructions", "{:.1f}", 1e-6),
            _by_core(counts, "multiply_share", "{:.0f}", 100),
            _by_core(counts, "lanes_used", "{:.0f}", 100),
        ]
        for key, counts in rows.items()
    ]


def _by_core(counts: Mapping[str, Document], key: str, form: str, factor: float) -> str:
    """Returns a figure on each core, a dash where it was not counted."""
    cells = [
        form.format(factor * counts[core][key]) if core in counts else "-"
        for core in CORES
    ]
    return " / ".join(cells)
