"""A new model, first loaded in a process of its own: a crash there is a refusal here.

A damaged graph, or a kernel with an instruction that this CPU lacks, can kill the
process that runs it. So a candidate is loaded, its golden vectors are replayed and its
time is taken in a child, interleaved with the present model's.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edge_runtime.classifier import Classifier
from edge_runtime.errors import FerEdgeError, ModelError, exit_code_of

TIMEOUT_S = 60.0
WARM_UP, REPEATS = 3, 30
NICENESS = 10  # the camera goes first
_MOST_OOM_SCORE = "1000"  # man proc: who goes first where memory ends
_SLICE_S = 0.1


@dataclass(frozen=True)
class Probe:
    """What a child saw.

    Attributes:
        digest: Of the metadata of the file it loaded.
        new_ms: Median time of one image.
        present_ms: The same of the present model; None where its file has changed.
    """

    digest: str
    new_ms: float
    present_ms: float | None


def probe(
    path: Path,
    present: Path,
    *,
    threads: int,
    backend: str,
    timeout_s: float = TIMEOUT_S,
    ended: threading.Event | None = None,
) -> Probe:
    """Returns how a model did in a fresh process.

    Args:
        path: The new model's file.
        present: The file of the model that is running.
        threads: CPU threads.
        backend: Inference library, or ``"auto"``.
        timeout_s: Seconds after which it is given up.
        ended: Set when nobody waits for the answer any more: the child is ended.

    Raises:
        ModelError: It cannot be loaded, crashed the process, or took too long; or
            ``ended`` was set.
    """
    arguments = [str(path), str(present), str(threads), backend]
    command = [sys.executable, "-m", __name__, *arguments]
    try:
        done = _run(command, timeout_s, ended or threading.Event())
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModelError(
            f"{path.name}: expected an answer from a fresh process within"
            f" {timeout_s:g} s, got {type(error).__name__}"
        ) from error
    if done.returncode:
        raise ModelError(f"{path.name}: {_failure(done)}")
    return Probe(**json.loads(done.stdout.splitlines()[-1]))


def _run(
    command: list[str], timeout_s: float, ended: threading.Event
) -> subprocess.CompletedProcess[str]:
    """Runs a child that is gone when this returns or raises.

    Raises:
        OSError: It cannot be started.
        TimeoutExpired: It took too long.
        ModelError: ``ended`` was set.
    """
    until = time.monotonic() + timeout_s
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            while not ended.is_set():
                try:
                    said = child.communicate(timeout=_SLICE_S)
                    return subprocess.CompletedProcess(command, child.returncode, *said)
                except subprocess.TimeoutExpired:
                    if time.monotonic() > until:
                        raise
            raise ModelError("the run ended while a new model was tried")
        finally:
            child.kill()  # does nothing where it has ended


def main(arguments: list[str]) -> int:
    """Loads both models and prints a ``Probe`` as JSON; runs in the child."""
    with contextlib.suppress(OSError):  # a hardened unit may forbid it
        os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_MOST_OOM_SCORE, encoding="ascii")
    path, present, threads, backend = arguments
    new = Classifier.load(path, num_threads=int(threads), backend=backend)
    try:
        old = Classifier.load(present, num_threads=int(threads))
    except FerEdgeError:
        old = None
    new_ms, present_ms = _times(new, old)
    digest = (new.file.document or {}).get("digest", "")
    print(json.dumps(asdict(Probe(digest, new_ms, present_ms))))
    return 0


def _times(new: Classifier, old: Classifier | None) -> tuple[float, float | None]:
    """Returns median ms of one image through each, taken in turns."""
    new_ms, old_ms = [], []
    for turn in range(WARM_UP + REPEATS):
        spent_new = _once(new)
        spent_old = _once(old) if old else 0.0
        if turn >= WARM_UP:
            new_ms.append(spent_new)
            old_ms.append(spent_old)
    return statistics.median(new_ms), statistics.median(old_ms) if old else None


def _once(model: Classifier) -> float:
    batch = np.full((1, *model.spec.input_shape), 127, np.uint8)
    started = time.perf_counter()
    model.probabilities(batch)
    return 1000 * (time.perf_counter() - started)


def _failure(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        try:
            name = signal.Signals(-done.returncode).name
        except ValueError:
            name = f"signal {-done.returncode}"
        return f"it crashed a fresh process ({name}): export it again, or check wheels"
    lines = done.stderr.strip().splitlines() or ["a fresh process failed"]
    return lines[-1].removeprefix("error: ")


if __name__ == "__main__":
    sys.exit(exit_code_of(lambda: main(sys.argv[1:])))
