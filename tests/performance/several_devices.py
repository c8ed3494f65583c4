"""``python -m tests.performance.several_devices``: two processes against one.

In turns: one process pinned to a core, and two that have two cores, with the same
images, batch and network. An epoch is that of ``history.csv``, with its measurement of
the validation images; the first one, which compiles, does not count.
"""

from __future__ import annotations

import argparse
import csv
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.documents import check_writable, machine_card, now, save_result
from edge_runtime.errors import FerEdgeError
from edge_runtime.utils import flags
from edge_runtime.utils.argparser import CommandLine, exit_code_of
from tests.conftest import ROOT

SCHEMA = "fer-edge/several-devices/1"
EXAMPLES = """\
examples:
  python -m tests.performance.several_devices fer2013.zip --json several_devices.json
"""


def measure(
    images: Path, folder: Path, *, turns: int, epochs: int, words: Sequence[str]
) -> dict[str, Any]:
    """Trains in a folder; returns the seconds of each epoch, JSON-ready.

    Raises:
        FerEdgeError: A training failed.
    """
    cores = sorted(os.sched_getaffinity(0))[:2]
    common = ["--data", f"{images.resolve()}", "--epochs", f"{epochs}", *words]
    common += ["--threads", "1", "--force"]
    seconds: dict[str, list[float]] = {"one": [], "two": []}
    for turn in range(turns):
        print(f"turn {turn + 1} of {turns}", flush=True)
        _await([_start(folder, [*common, "--name", "one"], cores[:1])])
        with socket.create_server(("127.0.0.1", 0)) as server:
            place = f"127.0.0.1:{server.getsockname()[1]}"
        both = [*common, "--coordinator", place, "--processes", "2", "--name", "two"]
        _await([_start(folder, [*both, "--process", number], cores) for number in "01"])
        for name, found in seconds.items():
            with (folder / "runs" / name / "history.csv").open() as file:
                found += [float(row["seconds"]) for row in csv.DictReader(file)][1:]
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    return {
        "flags": [*words],
        "seconds_per_epoch": seconds,
        "medians": medians,
        "speed_up": round(medians["one"] / medians["two"], 3),
    }


def _start(
    folder: Path, words: Sequence[str], cores: Sequence[int]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "train", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "jax"},
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )


def _await(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    if any(process.wait() for process in processes):
        raise FerEdgeError("a training failed")


def _run(options: argparse.Namespace) -> int:
    """Measures and prints.

    Raises:
        FerEdgeError: The JSON file cannot be written, or a training failed.
    """
    check_writable([options.json], force=options.force)
    words = ["--arch", options.arch, "--batch-size", f"{options.batch_size}"]
    words += ["--validation", options.validation]
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(
            options.images,
            Path(folder),
            turns=options.turns,
            epochs=options.epochs,
            words=words,
        )
    one, two = figures["medians"].values()
    print(f"an epoch: one process {one:.1f} s, two {two:.1f} s", end="")
    print(f": {figures['speed_up']:.2f} times as many images a second")
    document = {
        "schema": SCHEMA,
        "created": now(),
        "data": options.images.name,
        "machine": machine_card(),
    }
    save_result({**document, **figures}, options.json)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = CommandLine(
        prog="python -m tests.performance.several_devices",
        description=__doc__.splitlines()[0].partition(": ")[2],
        epilog=EXAMPLES,
    )
    count = flags.positive
    parser.add_argument("images", type=Path, help="images of 48x48, as for train")
    parser.add_argument("--arch", default="fer_small", help="network (%(default)s)")
    parser.add_argument("--batch-size", type=count, default=128, help="(%(default)s)")
    parser.add_argument("--validation", default="test", help="(%(default)s)")
    parser.add_argument("--epochs", type=count, default=3, help="(%(default)s)")
    parser.add_argument("--turns", type=count, default=2, help="(%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep as JSON")
    parser.add_argument("--force", action="store_true", help="replace this file")
    options = parser.parse_args(argv)
    return exit_code_of(lambda: _run(options))


if __name__ == "__main__":
    sys.exit(main())
