"""A roofline document as text."""

from __future__ import annotations

from benchmarks.common.documents import Document, clipped, columns, describe, percent

LEGEND = (
    "peak: one large convolution through the same library in the same run; share: the",
    "time of the MACs at that peak over the time measured. A layer's time is that of",
    "the graph up to it less that up to the one before; the first includes the call.",
)


def roofline_table(document: Document) -> str:
    """Returns a roofline document as text."""
    parts = [describe(document["machine"])]
    macs = {model["name"]: model["macs"] for model in document["models"]}
    for row in document["results"]:
        parts += ["", *_head(row, macs[row["model"]]), *_layers(row)]
    parts += ["", *LEGEND]
    return "\n".join(parts)


def _head(row: Document, macs: int) -> list[str]:
    peak, physical = row["peak_gmacs"], row["physical_gmacs"]
    lines = [
        f"{row['model']}, {row['threads']} thread{'s' if row['threads'] > 1 else ''},"
        f" {row['library']}:",
        f"  {1e-6 * macs:.1f} MMACs in {row['invoke_ms']:.3f} ms:"
        f" {row['gmacs']:.1f} GMAC/s, {percent(row['share'], 0)} of the measured peak",
        f"  measured peak {peak['int8']:.1f} GMAC/s in int8, {peak['float32']:.1f} in"
        " float32",
    ]
    if physical["int8"]:
        lines.append(
            f"  the cores cannot exceed {physical['int8']:.1f} and"
            f" {physical['float32']:.1f}"
        )
    return [*lines, ""]


def _layers(row: Document) -> list[str]:
    cells = [
        [
            clipped(layer["name"], 40),
            layer["operator"],
            layer["dtype"],
            f"{1e-6 * (layer['macs'] or 0):.2f}",
            f"{layer['bytes']:,}",
            f"{layer['ms']:.4f}",
            percent(layer["share"], 0),
        ]
        for layer in row["layers"]
    ]
    headings = ["", "operator", "type", "MMACs", "bytes", "ms", "share"]
    return columns(headings, cells)
