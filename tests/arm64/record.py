"""Counts instructions and puts them on record.

    python -m tests.arm64.record MODEL.tflite... [--output FILE.json] [--force]

Every model on Cortex-A53, A72 and A76 with ai-edge-litert and tflite-runtime.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.instructions import MEANING, make_document, markdown, model_entry
from benchmarks.models import Document, check_writable, write_json
from edge_runtime.container import read_model_file
from edge_runtime.errors import MissingDependencyError, exit_code_of
from tests.arm64.cache import UnavailableError
from tests.arm64.counting import build_plugin, conditions, count_instructions
from tests.arm64.emulator import make_boards
from tests.arm64.plan import COUNTS, RESULTS


def parse_arguments() -> argparse.Namespace:
    """Returns what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.arm64.record", description=f"Counts {MEANING}."
    )
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.tflite")
    parser.add_argument(
        "--output", type=Path, default=RESULTS / "instruction_counts.json"
    )
    parser.add_argument("--force", action="store_true", help="replace the record")
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


def main() -> int:
    """Counts, writes and prints."""
    wanted = parse_arguments()
    check_writable([wanted.output], force=wanted.force)
    document = count_all(wanted.models)
    write_json(wanted.output, document)
    print(markdown(document))
    print(f"\n{MEANING}\nwritten: {wanted.output}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
