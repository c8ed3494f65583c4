"""Measures cold start and memory in new processes."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import edge_runtime
from benchmarks.common.documents import Document
from edge_runtime.errors import MeasurementError
from edge_runtime.model_file.metadata import NOTHING_GIVEN, Given

REPEATS = 3
TIMEOUT_S = 300
# ru_maxrss would be wrong on Linux: a program inherits that of the process that started
# it, here the benchmark with all its models.
PROGRAM = """
import json, sys, time
import numpy as np
from edge_runtime import Classifier
from edge_runtime.model_file.pixels import PixelScaling

path, threads, backend, labels, pixels, output, colour, fit = json.loads(sys.argv[1])
classifier = Classifier.load(
    path, num_threads=threads, backend=backend, labels=labels,
    pixels=pixels and PixelScaling(*map(tuple, pixels)), output=output, colour=colour,
    fit=fit,
)
loaded = time.monotonic()
classifier.predict(np.full((96, 96, 3), 127, np.uint8))
answered = time.monotonic()
for _ in range(50):
    classifier.predict(np.full((96, 96, 3), 127, np.uint8))

def memory_kb(key):
    try:
        with open("/proc/self/status") as status:
            return next(int(s.split()[1]) for s in status if s.startswith(key))
    except (OSError, StopIteration):
        import resource
        unit = 1024 if sys.platform == "darwin" else 1  # bytes there, kB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit

steady = memory_kb("VmRSS:")
print(json.dumps([loaded, answered, memory_kb("VmHWM:"), steady]))
"""


def measure_fresh_process(
    path: Path,
    *,
    threads: int = 1,
    backend: str = "auto",
    given: Given = NOTHING_GIVEN,
    repeats: int = REPEATS,
) -> Document:
    """Returns medians over new processes that load a model and classify.

    Args:
        path: The model file.
        threads: CPU threads.
        backend: Inference library, or ``"auto"``.
        given: What the user says of a file without metadata.
        repeats: Number of processes, one after the other.

    Returns:
        loaded_ms and answered_ms: time from the start of the process (with interpreter
        and imports) to the loaded model and to the first prediction; peak_memory_mb,
        and steady_memory_mb after 50 predictions (MiB resident); repeats.

    Raises:
        MeasurementError: A process failed or did not end.
    """
    argument = json.dumps([str(path), threads, backend, *given])
    rows = [_run(argument, path.name) for _ in range(repeats)]
    loaded, answered, peak, steady = (
        statistics.median(column) for column in zip(*rows, strict=True)
    )
    return {
        "loaded_ms": loaded,
        "answered_ms": answered,
        "peak_memory_mb": peak,
        "steady_memory_mb": steady,
        "repeats": repeats,
    }


def _run(argument: str, name: str) -> tuple[float, float, float, float]:
    """Returns ms until loaded and until the prediction, peak and steady MiB."""
    command = [sys.executable, "-c", PROGRAM, argument]
    started = time.monotonic()  # the same clock in every process
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            check=True,
            env=environment(),
            text=True,
            timeout=TIMEOUT_S,
        )
        loaded, answered, peak_kb, steady_kb = json.loads(done.stdout)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise MeasurementError(f"{name}: a new process failed: {last}") from error
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise MeasurementError(f"{name}: a new process gave no figures") from error
    since = 1e3 * (loaded - started), 1e3 * (answered - started)
    return *since, peak_kb / 1024, steady_kb / 1024


def environment() -> dict[str, str]:
    """Returns environment variables with which Python finds this edge_runtime."""
    here = str(Path(edge_runtime.__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([here, inherited] if inherited else [here])
    return {**os.environ, "PYTHONPATH": path}
