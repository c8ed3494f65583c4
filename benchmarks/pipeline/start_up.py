"""Times ``edge_runtime run`` from its start to its first label, and its memory."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.latency.cold_start import environment
from edge_runtime.errors import MeasurementError

REPEATS = 5
TIMEOUT_S = 120
# Runs the command and prints its highest memory. (The ru_maxrss of a child contains its
# parent's own memory before the exec.)
MEASURED = """
import sys
from edge_runtime.__main__ import main
code = main(sys.argv[1:])
with open("/proc/self/status") as status:
    peak = next(line for line in status if line.startswith("VmHWM:"))
print(peak, file=sys.stderr)
sys.exit(code)
"""


def measure_start_up(arguments: Sequence[str]) -> dict[str, Any]:
    """Returns medians over processes that start, label an image and end.

    Args:
        arguments: The arguments of ``python -m edge_runtime``, with ``--json``.

    Returns:
        first_label_ms; peak_memory_mb (MiB resident; None where the system does not
        say); repeats.

    Raises:
        MeasurementError: A process failed.
    """
    command = [sys.executable, "-m", "edge_runtime", *arguments]
    with compiled_modules() as variables:
        times_ms = [first_line_ms(command, variables) for _ in range(1 + REPEATS)]
        peak_mb = peak_memory_mb(arguments, variables)
    return {
        # The first one compiled the modules, as an installation does.
        "first_label_ms": statistics.median(times_ms[1:]),
        "peak_memory_mb": peak_mb,
        "repeats": REPEATS,
    }


@contextmanager
def compiled_modules() -> Iterator[dict[str, str]]:
    """Yields environment variables with which Python keeps compiled modules.

    Where PYTHONDONTWRITEBYTECODE is set, a checkout would be compiled in each process,
    and what pip has installed would not.
    """
    with tempfile.TemporaryDirectory() as folder:
        variables = environment() | {"PYTHONPYCACHEPREFIX": folder}
        variables.pop("PYTHONDONTWRITEBYTECODE", None)
        yield variables


def first_line_ms(command: Sequence[str], variables: Mapping[str, str]) -> float:
    """Returns the time from the start of a process to its first line on stdout, in ms.

    Raises:
        MeasurementError: It failed or printed nothing.
    """
    started = time.perf_counter()
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=variables,
        text=True,
    ) as process:
        line = process.stdout.readline() if process.stdout else ""
        elapsed_ms = 1000 * (time.perf_counter() - started)
        process.communicate(timeout=TIMEOUT_S)
    if process.returncode or not line.strip():
        raise MeasurementError(
            f"a new process printed no label: run  {' '.join(command[:4])} ...  by hand"
        )
    return elapsed_ms


def peak_memory_mb(
    arguments: Sequence[str], variables: Mapping[str, str]
) -> float | None:
    """Returns the highest resident memory of a command in MiB, None where unknown.

    Args:
        arguments: The arguments of ``python -m edge_runtime``, with ``--json``.
        variables: The environment.

    Raises:
        MeasurementError: It failed.
    """
    if not Path("/proc/self/status").exists():
        return None
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments],
        capture_output=True,
        env=variables,
        text=True,
        timeout=TIMEOUT_S,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("VmHWM:")]
    if done.returncode or not lines:
        raise MeasurementError("a new process did not report its memory")
    json.loads(done.stdout.splitlines()[0])  # it printed a result
    return int(lines[0].split()[1]) / 1024
