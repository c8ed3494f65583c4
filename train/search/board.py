"""How long a board needs, said by models that were timed both on it and here."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from edge_runtime.errors import ConfigError
from edge_runtime.model_file.released import released_models
from edge_runtime.untrusted import one_line, read_json

SCHEMA = "fer-edge/latency/1"
MAX_RECORD_BYTES = 2**20
HOW = "python -m benchmarks latency MODEL... --threads 1 --json"


class Board(NamedTuple):
    """A board, and the times that it needs.

    Attributes:
        name: As it names itself.
        fingerprint: SHA-256 of its record.
        times_ms: Median of one image on one thread, by the model file that is here.
    """

    name: str
    fingerprint: str
    times_ms: Mapping[Path, float]


class Ratio(NamedTuple):
    """How many times as long as this machine a board takes.

    Attributes:
        mean: Geometric mean over the models.
        least: Of the model where it is smallest.
        largest: Of the model where it is largest.
        models: Number of models.
    """

    mean: float
    least: float
    largest: float
    models: int


def read_board(path: str) -> Board:
    """Returns what ``python -m benchmarks latency --json FILE`` wrote on a board.

    Only models that are here, too, count: the released ones, and files of the same name
    beside the record. Their SHA-256 decides.

    Raises:
        ConfigError: It is no such record, or none of its models is here.
    """
    record = Path(path)
    try:
        document = read_json(record, MAX_RECORD_BYTES)
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r}")
        wanted = _times_by_hash(document)
        name = one_line(str(document["machine"]["model"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--on {path}: expected what {HOW} {record.name} writes on the board,"
            f" got {error!r}"
        ) from error
    times_ms = {
        file: wanted[digest]
        for file, digest in _files_here(document, record.parent)
        if digest in wanted
    }
    if not times_ms:
        raise ConfigError(
            f"--on {path}: none of its models on one thread is here: time a released"
            f" one on the board ({HOW.replace('MODEL...', 'ferplus')} {record.name}),"
            " or put its models beside the record"
        )
    fingerprint = hashlib.sha256(record.read_bytes()).hexdigest()
    return Board(name, fingerprint, times_ms)


def _times_by_hash(document: Mapping[str, Any]) -> dict[str, float]:
    pairs = zip(document["models"], document["results"], strict=True)
    times = {
        str(model["sha256"]): float(result["logits_ms"]["p50"])
        for model, result in pairs
        if result["threads"] == 1
    }
    if any(not 0 < time < math.inf for time in times.values()):
        raise ValueError("a time that is none")
    return times


def _files_here(document: Mapping[str, Any], folder: Path) -> list[tuple[Path, str]]:
    names = {Path(str(model["name"])).name for model in document["models"]}
    beside = [folder / name for name in sorted(names) if (folder / name).is_file()]
    found = {path: _sha256(path) for path in beside}
    found |= {model.path: _sha256(model.path) for model in released_models().values()}
    return [(path, digest) for path, digest in found.items()]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compare(board: Board, measure: Callable[[Path], float]) -> Ratio:
    """Returns how many times as long as this machine a board takes.

    Args:
        board: The board.
        measure: Returns the milliseconds of a model file here.
    """
    ratios = [time_ms / measure(path) for path, time_ms in board.times_ms.items()]
    mean = math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
    return Ratio(mean, min(ratios), max(ratios), len(ratios))


def describe(board: Board, ratio: Ratio) -> str:
    """Returns in a line what latencies are multiplied by."""
    spread = f" ({ratio.least:.2f} to {ratio.largest:.2f})" * (ratio.models > 1)
    models = f"{ratio.models} model{'s' * (ratio.models > 1)}"
    return (
        f"{board.name} takes {ratio.mean:.2f} times as long as this machine{spread}, by"
        f" {models}: latencies are those times what is measured here"
    )
