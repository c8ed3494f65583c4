"""The verdict on a model file: is it what it claims to be."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.errors import FerEdgeError, GoldenVectorError
from edge_runtime.graph.tflite import outer_buffer_bytes
from edge_runtime.inference.classifier import Classifier
from edge_runtime.inspection.analyzer import GraphSummary
from edge_runtime.inspection.format_rules import (
    Findings,
    Violation,
    check_format,
    check_metadata,
    collect_notes,
    format_in_name,
)
from edge_runtime.model_file.container import ModelFile
from edge_runtime.model_file.metadata import ModelSpec

NOTHING_FOUND = Findings()
UNFOLDED = "unfolded_batchnorm"  # in the metadata's origin


@dataclass(frozen=True)
class Replay:
    """The result of running the model on its golden vectors.

    Attributes:
        classifier: The loaded model; None where it was not run.
        error: Why not; None where it ran, or there was no reason to run it.
        threads: CPU threads it was run with.
    """

    classifier: Classifier | None = None
    error: FerEdgeError | None = None
    threads: int = 1


@dataclass(frozen=True)
class Verdict:
    """Whether a file is what it claims to be.

    Attributes:
        format: The format it was checked against; None for a file that claims none.
        judged_by: ``"metadata"``, ``"--expect"``, ``"file name"`` or None.
        passed: False where a rule is broken; None where no broken rule was found, but
            the graph could not be read.
        violations: The rules it breaks.
        notes: What breaks no rule but is good to know.
    """

    format: str | None
    judged_by: str | None
    passed: bool | None
    violations: tuple[Violation, ...]
    notes: tuple[str, ...]


def evaluate(
    file: ModelFile,
    spec: ModelSpec | None,
    summary: GraphSummary | None,
    *,
    expect: str | None = None,
    replay: Replay | None = None,
    foreign: Findings = NOTHING_FOUND,
) -> Verdict:
    """Returns whether a file is what it claims to be.

    Args:
        file: The model file.
        spec: Its metadata; None for a file without.
        summary: Its contents; None where the graph could not be read.
        expect: The format that the user expects.
        replay: The result of running it on its golden vectors.
        foreign: What was found at the ends of a file without metadata.
    """
    claims = {
        "--expect": expect,
        "metadata": spec.format if spec else None,
        "file name": format_in_name(file.name),
    }
    judged_by = next((source for source, claim in claims.items() if claim), None)
    format = claims[judged_by] if judged_by else None
    declared = _declared_unfolded(spec)
    violations, notes = [], ["the graph was not read: only the rest was checked"]
    if summary is not None:
        notes = collect_notes(summary, format, declared=declared)
        if format:
            violations += check_format(summary, format, declared=declared)
        if spec is not None:
            violations += check_metadata(summary, spec)
    violations += foreign.violations
    notes += foreign.notes
    outer = outer_buffer_bytes(file.model) if file.kind == "tflite" else 0
    if outer:
        notes.append(
            f"{outer:,} bytes of constants lie behind the flatbuffer: TensorFlow Lite"
            " Micro and other interpreters that do not know this load the file and"
            " compute with other values; export it again"
        )
    for source, claim in claims.items():
        if claim and claim != format:
            expected = f"{format} ({judged_by})"
            violations.append(Violation("name", expected, f"{claim} ({source})"))
    if replay is not None and isinstance(replay.error, GoldenVectorError):
        violations.append(
            Violation("golden-vectors", "the exporter's answers", str(replay.error))
        )
    passed = False if violations else True if summary is not None else None
    return Verdict(format, judged_by, passed, tuple(violations), tuple(notes))


def _declared_unfolded(spec: ModelSpec | None) -> tuple[str, ...]:
    """Returns the operators of BatchNorm that, by the metadata, did not fold."""
    names = spec.origin.get(UNFOLDED) if spec is not None else None
    if not isinstance(names, list):
        return ()
    return tuple(name for name in names if isinstance(name, str))
