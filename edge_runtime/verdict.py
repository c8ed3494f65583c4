"""The verdict on a model file: is it what it says it is."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.classifier import Classifier
from edge_runtime.container import ModelFile
from edge_runtime.errors import FerEdgeError, GoldenVectorError
from edge_runtime.inventory import Inventory
from edge_runtime.promises import (
    Violation,
    format_in_name,
    judge,
    judge_metadata,
    notes,
)
from edge_runtime.spec import ModelSpec

UNFOLDED = "unfolded_batchnorm"  # in the metadata's origin


@dataclass(frozen=True)
class Replay:
    """What came of running the model.

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
    """Whether a file is what it says it is.

    Attributes:
        format: What it was judged as; None for a file that claims nothing.
        judged_by: ``"metadata"``, ``"--expect"``, ``"file name"`` or None.
        violations: Promises that it breaks.
        notes: What breaks no promise but is good to know.
    """

    format: str | None
    judged_by: str | None
    violations: tuple[Violation, ...]
    notes: tuple[str, ...]


def reach_verdict(
    file: ModelFile,
    spec: ModelSpec | None,
    inventory: Inventory,
    *,
    expect: str | None = None,
    replay: Replay | None = None,
) -> Verdict:
    """Returns whether a file is what it says it is.

    Args:
        file: The model file.
        spec: What its metadata say; None for a file without.
        inventory: What is inside.
        expect: What somebody says it must be.
        replay: What came of running it; its golden vectors are judged, too.
    """
    format, judged_by = _claim(file, spec, expect)
    declared = _declared(spec)
    violations = judge(inventory, format, declared=declared) if format else []
    if spec is not None:
        violations += judge_metadata(inventory, spec)
    claims = {
        "--expect": expect,
        "metadata": spec.format if spec else None,
        "file name": format_in_name(file.name),
    }
    for source, claimed in claims.items():
        if claimed and claimed != format:
            expected = f"{format} ({judged_by})"
            violations.append(Violation("name", expected, f"{claimed} ({source})"))
    if replay is not None and isinstance(replay.error, GoldenVectorError):
        violations.append(
            Violation("golden-vectors", "the exporter's answers", str(replay.error))
        )
    said = notes(inventory, format, declared=declared)
    return Verdict(format, judged_by, tuple(violations), tuple(said))


def _declared(spec: ModelSpec | None) -> tuple[str, ...]:
    """Returns the operators of BatchNorm that the metadata say did not fold."""
    said = spec.origin.get(UNFOLDED) if spec is not None else None
    if not isinstance(said, list):
        return ()
    return tuple(one for one in said if isinstance(one, str))


def _claim(
    file: ModelFile, spec: ModelSpec | None, expect: str | None
) -> tuple[str | None, str | None]:
    """Returns the format a file is judged as, and who says so."""
    if expect:
        return expect, "--expect"
    if spec is not None and spec.format:
        return spec.format, "metadata"
    claimed = format_in_name(file.name)
    return claimed, "file name" if claimed else None
