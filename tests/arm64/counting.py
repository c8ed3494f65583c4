"""Counts the instructions of inferences on emulated boards."""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.arm64.cache import CACHE, cached, need, run
from tests.arm64.emulator import Board, emulator_command
from tests.arm64.instruction_record import Count

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "instructions.c"
SCRIPT = HERE / "guest" / "count.py"
SAME = 1e-5  # how far two inferences of one process may differ


def build_plugin() -> Path:
    """Returns the plugin, compiled where it is not in the cache.

    Raises:
        UnavailableError: There is no C compiler, or it refuses the source.
    """
    source = SOURCE.read_text(encoding="utf-8")

    def compile_into(folder: Path) -> None:
        need("cc")
        options = ["-O2", "-Wall", "-Werror", "-shared", "-fPIC"]
        run(["cc", *options, "-o", folder / "instructions.so", SOURCE])

    return cached(CACHE / "plugin", source, compile_into) / "instructions.so"


def count_instructions(board: Board, model: Path, plugin: Path) -> Count:
    """Returns what one inference of a model executes on a board, on one thread.

    Loading, and the first inferences, are not counted.

    Args:
        board: Its processor and its library.
        model: A ``.tflite`` file.
        plugin: As ``build_plugin`` returned it.

    Raises:
        ValueError: The last two inferences differ.
    """
    backend = board.environment.backend
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "counts"
        watched = {"QEMU_PLUGIN": f"{plugin},out={out}"}
        done = board.run(SCRIPT, model.resolve(), backend, extra=watched)
        if done.returncode:
            raise RuntimeError(f"{board.name}: {model.name}: {done.stderr[-2000:]}")
        counters = read_counters(out.read_text(encoding="ascii"))
    return Count(board.core.name, backend, version_on(board, backend), counters)


def read_counters(text: str) -> dict[str, int]:
    """Returns the counters of the last inference in a plugin's report.

    Raises:
        ValueError: No inference was marked, or the last two differ.
    """
    inferences = []
    for line in text.splitlines():
        word, number, *rest = line.split()
        if word == "mark" and int(number) % 2 == 1:  # the mark behind an inference
            inferences.append(dict(zip(rest[::2], map(int, rest[1::2]), strict=True)))
    if len(inferences) < 2:
        raise ValueError(f"expected several marked inferences, got {len(inferences)}")
    before, last = (one["instructions"] for one in inferences[-2:])
    if abs(before - last) > SAME * last:
        raise ValueError(f"two inferences are not alike: {before:,} and {last:,}")
    return inferences[-1]


def version_on(board: Board, library: str) -> str:
    """Returns the version of a distribution that a board has installed."""
    for folder in board.path:
        found = importlib.metadata.distributions(name=library, path=[str(folder)])
        for distribution in found:
            return distribution.version
    raise LookupError(f"{board.name} has no {library}")


def conditions(boards: Sequence[Board]) -> dict[str, Any]:
    """Returns what the figures depend on beside file, core and library, JSON-ready."""
    (version,) = run([*emulator_command(), "--version"]).splitlines()[:1]
    cores = {board.core.name: board.core.boards for board in boards}
    userland = boards[0].environment.userland
    return {
        "threads": 1,
        "emulator": version,
        "userland": f"Debian {userland.suite} {userland.architecture}",
        "boards_with_this_core": cores,
    }
