"""Judges files without our metadata: the range of input and output, what they say."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_runtime.graph.ends import quantized_input
from edge_runtime.graph.ir import Graph
from edge_runtime.inspection.format_rules import Findings, Violation
from edge_runtime.model_file.container import ModelFile
from edge_runtime.model_file.input_range import (
    INTEGERS,
    MOST_CLIPPED,
    count_steps,
    describe,
    quantized_range,
)
from edge_runtime.model_file.metadata import Given
from edge_runtime.model_file.statements import Statements

EIGHT_BITS = ("int8", "uint8")
SHOWN_LABELS = 5


def check_foreign(graph: Graph, stated: Statements, given: Given) -> Findings:
    """Returns what is wrong with the ends of a model, and what is good to know.

    Args:
        graph: Of a file without our metadata.
        stated: What the file says itself.
        given: What the user says of it.
    """
    with np.errstate(all="ignore"):  # scales of damaged files
        return _check(graph, stated, given)


def _check(graph: Graph, stated: Statements, given: Given) -> Findings:
    violations, notes = [], []
    pixels = given.pixels or stated.pixels
    if pixels is None:
        notes.append(
            "nothing in the file says what its network takes for pixels: run and"
            " benchmarks ask for --pixels"
        )
    if given.labels is None and stated.labels_error:
        notes.append(f"{stated.labels_error}: give the names with --labels")
    tensor = quantized_input(graph)
    if tensor is not None and pixels is not None and tensor.dtype in EIGHT_BITS:
        clipped, steps = count_steps(tensor, pixels)
        found = f"{clipped} of 256 pixel values beyond its range"
        if clipped > MOST_CLIPPED and given.pixels is not None:
            expected = f"an input that holds pixels as {describe(pixels)}"
            violations.append(Violation("pixel-range", expected, found))
        elif clipped > MOST_CLIPPED:
            notes.append(f"its input was calibrated without black or white: {found}")
        elif steps < 250:
            notes.append(f"its input tells {steps} of 256 pixel values apart")
    output = graph.tensor(graph.outputs, 0)
    # A float tensor of an edited file may have a scale, too.
    quantized = (
        output is not None and output.dtype in INTEGERS and len(output.scales) == 1
    )
    if stated.output == "probabilities" and output is not None and quantized:
        low, high = quantized_range(output)
        notes.append(f"its probabilities have steps of {output.scales[0]:.3g}")
        if low > 0.01 or high < 0.9:
            found = f"{low:.3g}..{high:.3g} at most"
            violations.append(
                Violation("output-range", "an output that holds probabilities", found)
            )
    if given.output is not None and stated.output not in (None, given.output):
        notes.append(
            f"{stated.output_source}: it gives {stated.output}, not {given.output}"
        )
    return Findings(tuple(violations), tuple(notes))


def foreign_document(file: ModelFile, stated: Statements) -> dict[str, Any]:
    """Returns what a file without our metadata says itself, JSON-ready."""
    pixels = stated.pixels
    return {
        "labels": list(stated.labels[:SHOWN_LABELS]),
        "label_count": len(stated.labels),
        "labels_by": stated.labels_source,
        "pixels": pixels and {"values": describe(pixels), **pixels._asdict()},
        "pixels_by": stated.pixels_source if pixels else "",
        "output": stated.output,
        "output_by": stated.output_source,
        "tflite_metadata": _official(file),
    }


def _official(file: ModelFile) -> dict[str, str] | None:
    """Returns the model's name, version, author and licence by its TFLite metadata."""
    if file.kind != "tflite":
        return None
    from edge_runtime.model_file.tflite_metadata import read_tflite_metadata

    found = read_tflite_metadata(file.model)
    if found is None:
        return None
    keys = ("name", "version", "author", "licence")
    return {key: getattr(found, key) for key in keys}
