"""Counts instructions and puts them on record.

    python -m tests.arm64.record MODEL.tflite... [--output FILE.json] [--force | --add]

Every model on Cortex-A53, A72 and A76 with ai-edge-litert and tflite-runtime. The table
in docs/records/instructions.md is written anew from the record.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.common.documents import (
    Document,
    check_writable,
    read_document,
    write_json,
)
from edge_runtime.errors import FerEdgeError, MissingDependencyError
from edge_runtime.model_file.container import read_model_file
from edge_runtime.utils.argparser import exit_code_of
from edge_runtime.utils.files import write_text
from tests.arm64.cache import ROOT, UnavailableError
from tests.arm64.counting import build_plugin, conditions, count_instructions
from tests.arm64.emulator import make_boards
from tests.arm64.instruction_record import (
    MEANING,
    SCHEMA,
    make_document,
    markdown,
    model_entry,
)
from tests.arm64.plan import COUNTS, RESULTS

RECORD = RESULTS / "instruction_counts.json"
DOCUMENTATION = ROOT / "docs" / "records" / "instructions.md"
BEGIN, END = "<!-- table of the record -->\n", "\n<!-- end -->"


def parse_arguments() -> argparse.Namespace:
    """Returns what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.arm64.record", description=f"Counts {MEANING}."
    )
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.tflite")
    parser.add_argument("--output", type=Path, default=RECORD)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--force", action="store_true", help="replace the record")
    way.add_argument(
        "--add", action="store_true", help="keep the other models of the record"
    )
    return parser.parse_args()


def count_all(models: Sequence[Path]) -> Document:
    """Returns the record of some models.

    Raises:
        MissingDependencyError: The emulation needs what this machine has not.
    """
    for model in models:
        read_model_file(model)  # a wrong file is found before the wait
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        try:
            boards = make_boards(COUNTS, Path(folder))
            plugin = build_plugin()
        except UnavailableError as reason:
            raise MissingDependencyError(f"no arm64 emulation here: {reason}") from None
        begun = [
            [
                pool.submit(count_instructions, board, model, plugin)
                for board in boards.values()
            ]
            for model in models
        ]
        entries = [
            model_entry(model, [one.result() for one in counts])
            for model, counts in zip(models, begun, strict=True)
        ]
        return make_document(entries, conditions(list(boards.values())))


def added(recorded: Document, counted: Document) -> Document:
    """Returns a record with models put into it, by name; the others stay.

    Raises:
        FerEdgeError: The record was made with another emulator or userland.
    """
    for key in set(recorded) | set(counted):
        changing = key in ("created", "models")
        if not changing and recorded.get(key) != counted.get(key):
            raise FerEdgeError(
                f"expected a record with the {key} {counted.get(key)!r}, got"
                f" {recorded.get(key)!r}: record all models again, with --force"
            )
    models = {one["name"]: one for one in (*recorded["models"], *counted["models"])}
    return {**counted, "models": list(models.values())}


def with_table(text: str, table: str) -> str:
    """Returns documentation with the table between its marks replaced.

    Raises:
        FerEdgeError: It has no such marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise FerEdgeError(f"expected {BEGIN.strip()!r} and {END.strip()!r}, got none")
    return before + begin + table + end + after


def main() -> int:
    """Counts, writes and prints."""
    wanted = parse_arguments()
    recorded = read_document(wanted.output, SCHEMA) if wanted.add else None
    check_writable([wanted.output], force=wanted.force or wanted.add)
    document = count_all(wanted.models)
    if recorded:
        document = added(recorded, document)
    write_json(wanted.output, document)
    print(markdown(document))
    if wanted.output.resolve() == RECORD:
        old = DOCUMENTATION.read_text(encoding="utf-8")
        write_text(DOCUMENTATION, with_table(old, markdown(document)))
    print(f"\n{MEANING}\nwritten: {wanted.output}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
