"""Recorded results: read from a folder, and collected by model file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.accuracy import measure as accuracy
from benchmarks.common.documents import MAX_RESULT_BYTES, Document
from benchmarks.latency import measure as latency
from benchmarks.report import instructions
from benchmarks.roofline import measure as roofline
from edge_runtime.errors import FerEdgeError
from edge_runtime.untrusted import read_json

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
class ModelResults:
    """All results of one model file; None and empty where there are none.

    Attributes:
        record: Name, format, size and origin of the file.
        accuracy: Its part of an accuracy document.
        data: The images of that document.
        latency: Its rows in a latency document, by threads.
        memory: Its row of the fresh processes.
        roofline: Its rows in a roofline document, by threads.
        instructions: Instructions per inference, by core.
        invalid: Which of ``latency`` (by threads), ``"memory"`` and ``"roofline"`` are
            from a measurement that was not valid.
    """

    record: Document
    accuracy: Document | None = None
    data: Document | None = None
    latency: dict[int, Document] = field(default_factory=dict)
    memory: Document | None = None
    roofline: dict[int, Document] = field(default_factory=dict)
    instructions: dict[str, int] = field(default_factory=dict)
    invalid: set[int | str] = field(default_factory=set)

    @property
    def label(self) -> str:
        """The file's name, for charts and tables."""
        return str(self.record["name"])

    def mark(self, part: int | str, document: Document) -> None:
        """Notes whether the measurement that a part comes from was valid."""
        if is_invalid(document):
            self.invalid.add(part)
        else:
            self.invalid.discard(part)


@contextmanager
def complete_documents() -> Iterator[None]:
    """Makes a key that a document lacks the user's error.

    Raises:
        FerEdgeError: A document lacks a key of its schema.
    """
    try:
        yield
    except KeyError as error:
        raise FerEdgeError(
            f"expected complete results, got one without {error}: measure again with"
            " this version"
        ) from error


def read_results(folder: Path) -> list[Result]:
    """Returns all results in a folder, oldest first.

    Raises:
        FerEdgeError: The folder holds none, or one cannot be read.
    """
    results = []
    for path in sorted(folder.rglob("*.json")):
        try:
            document = read_json(path, MAX_RESULT_BYTES)
        except (OSError, ValueError) as error:
            raise FerEdgeError(
                f"cannot read the result {str(path)!r}: {error}"
            ) from error
        if isinstance(document, dict) and isinstance(document.get("schema"), str):
            results.append(Result(path.name, document))
    if not results:
        raise FerEdgeError(
            f"expected results (*.json with a schema) in {str(folder)!r}, got none:"
            " measure with --json FILE"
        )
    return sorted(results, key=lambda result: str(result.document.get("created", "")))


def with_schema(results: Sequence[Result], schema: str) -> list[Result]:
    """Returns the results of a schema."""
    return [result for result in results if result.schema == schema]


def is_invalid(document: Document) -> bool:
    """Returns whether a measurement found its own conditions unfit."""
    verdict = document.get("verdict")
    return isinstance(verdict, dict) and verdict.get("valid") is False


def collect_by_model(results: Sequence[Result]) -> list[ModelResults]:
    """Returns the results of each model file (by its sha256), the later ones count.

    Times and memory of a measurement that was valid stay where a later one was not.

    Raises:
        FerEdgeError: A result lacks a key of its schema.
    """
    models: dict[str, ModelResults] = {}
    with complete_documents():
        for result in with_schema(results, accuracy.SCHEMA):
            _add_accuracy(models, result.document)
        for result in _valid_last(with_schema(results, latency.SCHEMA)):
            _add_latency(models, result.document)
        for result in _valid_last(with_schema(results, roofline.SCHEMA)):
            for model, row in _rows_by_model(models, result.document):
                model.roofline[row["threads"]] = row
                model.mark("roofline", result.document)
        for result in with_schema(results, instructions.SCHEMA):
            _add_instructions(models, result.document)
    return sorted(models.values(), key=_by_architecture)


def _valid_last(results: Sequence[Result]) -> list[Result]:
    return sorted(results, key=lambda result: not is_invalid(result.document))


def _add_accuracy(models: dict[str, ModelResults], document: Document) -> None:
    for figures in document["models"]:
        model = models.setdefault(figures["sha256"], ModelResults(figures))
        model.accuracy, model.data = figures, document["data"]


def _add_latency(models: dict[str, ModelResults], document: Document) -> None:
    for model, row in _rows_by_model(models, document):
        model.latency[row["threads"]] = row
        model.mark(row["threads"], document)
    by_name = {record["name"]: record["sha256"] for record in document["models"]}
    for row in document["fresh_process"]:
        if row["model"] in by_name:
            model = models[by_name[row["model"]]]
            model.memory = row
            model.mark("memory", document)


def _rows_by_model(
    models: dict[str, ModelResults], document: Document
) -> Iterator[tuple[ModelResults, Document]]:
    records = {record["name"]: record for record in document["models"]}
    for row in document["results"]:
        record = records[row["model"]]
        yield models.setdefault(record["sha256"], ModelResults(record)), row


def _add_instructions(models: dict[str, ModelResults], document: Document) -> None:
    """Adds the counts of the preferred library to the models that are known."""
    for record in document["models"]:
        model = models.get(record["sha256"])
        for count in record["counts"] if model else ():
            if model and count["backend"]["name"] == PREFERRED_LIBRARY:
                model.instructions[count["core"]] = count["instructions"]


def _by_architecture(model: ModelResults) -> list[str]:
    return [str(model.record.get(key, "")) for key in ("architecture", "format")]
