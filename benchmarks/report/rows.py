"""All results under one roof: what each model file has been measured to be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.accuracy import measure as accuracy
from benchmarks.common.documents import Document
from benchmarks.latency import measure as latency
from benchmarks.report import instructions
from benchmarks.roofline import measure as limit
from edge_runtime.errors import FerEdgeError

PREFERRED_LIBRARY = "ai-edge-litert"


@dataclass(frozen=True)
class Result:
    """A result file.

    Attributes:
        name: Its file name.
        document: Its content.
    """

    name: str
    document: Document

    @property
    def schema(self) -> str:
        """Which kind of result it is."""
        return str(self.document["schema"])


@dataclass
class Row:
    """What is known of one model file, by its sha256; None and empty where nothing is.

    Attributes:
        record: Name, format, size and origin.
        accuracy: Its figures in an accuracy document.
        data: The images these were measured on.
        timed: Its rows in a latency document, by threads.
        unsure: Which of ``timed`` (by threads), ``"fresh"`` and ``"limit"`` are of a
            measurement that was not valid.
        fresh: Its row of the fresh processes.
        limit: Its rows in a limit document, by threads.
        instructions: Instructions per inference, by core.
    """

    record: Document
    accuracy: Document | None = None
    data: Document | None = None
    timed: dict[int, Document] = field(default_factory=dict)
    unsure: set[int | str] = field(default_factory=set)
    fresh: Document | None = None
    limit: dict[int, Document] = field(default_factory=dict)
    instructions: dict[str, int] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What pictures and tables call it."""
        return str(self.record["name"])

    def judge(self, part: int | str, document: Document) -> None:
        """Takes the verdict on the measurement that a part is of."""
        if is_invalid(document):
            self.unsure.add(part)
        else:
            self.unsure.discard(part)


def read_results(folder: Path) -> list[Result]:
    """Returns all results in a folder, oldest first.

    Raises:
        FerEdgeError: The folder holds none, or one cannot be read.
    """
    found = []
    for path in sorted(folder.rglob("*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FerEdgeError(
                f"cannot read the result {str(path)!r}: {error}"
            ) from error
        if isinstance(document, dict) and isinstance(document.get("schema"), str):
            found.append(Result(path.name, document))
    if not found:
        raise FerEdgeError(
            f"expected results (*.json with a schema) in {str(folder)!r}, got none:"
            " measure with --json FILE"
        )
    return sorted(found, key=lambda one: str(one.document.get("created", "")))


def of_schema(results: Sequence[Result], schema: str) -> list[Result]:
    """Returns the results of a schema."""
    return [one for one in results if one.schema == schema]


def join(results: Sequence[Result]) -> list[Row]:
    """Returns a row for each model file; later results replace earlier ones.

    Times and memory of a measurement that was valid stay where a later one was not.

    Raises:
        FerEdgeError: A result lacks a key of its schema.
    """
    rows: dict[str, Row] = {}
    try:
        for one in of_schema(results, accuracy.SCHEMA):
            _join_accuracy(rows, one.document)
        for one in _valid_last(of_schema(results, latency.SCHEMA)):
            _join_latency(rows, one.document)
        for one in _valid_last(of_schema(results, limit.SCHEMA)):
            for row, timed in _by_model(rows, one.document):
                row.limit[timed["threads"]] = timed
                row.judge("limit", one.document)
        _join_instructions(rows, results)
    except KeyError as error:
        raise FerEdgeError(
            f"expected complete results, got one without {error}: measure again with"
            " this version"
        ) from error
    return sorted(rows.values(), key=lambda row: (_architecture(row), _format(row)))


def _join_accuracy(rows: dict[str, Row], document: Document) -> None:
    for model in document["models"]:
        row = rows.setdefault(model["sha256"], Row(model))
        row.accuracy, row.data = model, document["data"]


def is_invalid(document: Document) -> bool:
    """Returns whether a result's own conditions speak against it."""
    judged = document.get("verdict")
    return isinstance(judged, dict) and judged.get("valid") is False


def _valid_last(results: Sequence[Result]) -> list[Result]:
    return sorted(results, key=lambda one: not is_invalid(one.document))


def _join_latency(rows: dict[str, Row], document: Document) -> None:
    for row, timed in _by_model(rows, document):
        threads = timed["threads"]
        row.timed[threads] = timed
        row.judge(threads, document)
    for one in document["fresh_process"]:
        for model in document["models"]:
            if model["name"] == one["model"]:
                row = rows[model["sha256"]]
                row.fresh = one
                row.judge("fresh", document)


def _by_model(rows: dict[str, Row], document: Document) -> list[tuple[Row, Document]]:
    records = {model["name"]: model for model in document["models"]}
    found = []
    for timed in document["results"]:
        record = records[timed["model"]]
        found.append((rows.setdefault(record["sha256"], Row(record)), timed))
    return found


def _join_instructions(rows: dict[str, Row], results: Sequence[Result]) -> None:
    """Takes the counts of the preferred library, by core, of files that are known."""
    for one in of_schema(results, instructions.SCHEMA):
        for model in one.document["models"]:
            row = rows.get(model["sha256"])
            for count in model["counts"] if row else ():
                if row and count["backend"]["name"] == PREFERRED_LIBRARY:
                    row.instructions[count["core"]] = count["instructions"]


def _architecture(row: Row) -> str:
    return str(row.record.get("architecture", ""))


def _format(row: Row) -> str:
    return str(row.record.get("format", ""))
