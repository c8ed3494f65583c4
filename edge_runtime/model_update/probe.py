"""A new model, first loaded in a process of its own: a crash there is a refusal here.

A damaged graph, or a kernel with an instruction that this CPU lacks, can kill the
process that runs it. So a candidate is loaded, its golden vectors are replayed and its
time is taken in a child, interleaved with the present model's. The child is handed the
bytes that were verified: what lies at the path by now may be another file.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np

from edge_runtime.errors import FerEdgeError, ModelError, exit_code_of
from edge_runtime.inference.classifier import Classifier
from edge_runtime.model_file.container import ModelFile, put_together, take_apart

TIMEOUT_S = 60.0
WARM_UP, REPEATS = 3, 30
NICENESS = 10  # the camera goes first
_MOST_OOM_SCORE = "1000"  # man proc: who goes first where memory ends
_SLICE_S = 0.1


@dataclass(frozen=True)
class Probe:
    """What a child saw.

    Attributes:
        new_ms: Median time of one image.
        present_ms: The same of the present model; None where that could not be loaded.
    """

    new_ms: float
    present_ms: float | None


def probe(
    new: ModelFile,
    present: ModelFile,
    *,
    threads: int,
    backend: str,
    timeout_s: float = TIMEOUT_S,
    ended: threading.Event | None = None,
) -> Probe:
    """Returns how a model did in a fresh process.

    Args:
        new: The new model, as it was verified.
        present: The one that is running.
        threads: CPU threads.
        backend: Inference library, or ``"auto"``.
        timeout_s: Seconds after which it is given up.
        ended: Set when nobody waits for the answer any more: the child is ended.

    Raises:
        ModelError: It cannot be loaded, crashed the process, or took too long; or
            ``ended`` was set.
    """
    until = time.monotonic() + timeout_s
    try:
        with contextlib.ExitStack() as stack:
            handed = [stack.enter_context(in_memory(one)) for one in (new, present)]
            arguments = [new.name, present.name, *map(str, handed), str(threads)]
            command = [sys.executable, "-m", __name__, *arguments, backend]
            done = _run(command, handed, until, ended or threading.Event())
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModelError(
            f"{new.name}: expected an answer from a fresh process within"
            f" {timeout_s:g} s, got {type(error).__name__}"
        ) from error
    if done.returncode:
        raise ModelError(f"{new.name}: {_failure(done)}")
    return Probe(**json.loads(done.stdout.splitlines()[-1]))


def _nameless() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("model"), "wb")
    return tempfile.TemporaryFile()  # a Python that was built for an older C library


@contextlib.contextmanager
def in_memory(file: ModelFile) -> Iterator[int]:
    """Yields a descriptor of a file without a name that has a model file's bytes."""
    with _nameless() as copy:
        copy.write(put_together(file))
        copy.flush()
        yield copy.fileno()


def _run(
    command: list[str], handed: Sequence[int], until: float, ended: threading.Event
) -> subprocess.CompletedProcess[str]:
    """Runs a child that is gone when this returns or raises.

    Raises:
        OSError: It cannot be started.
        TimeoutExpired: It took too long.
        ModelError: ``ended`` was set.
    """
    with subprocess.Popen(
        command,
        pass_fds=handed,
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
    new_name, present_name, new_at, present_at, threads, backend = arguments
    new = Classifier.from_file(
        _handed(new_name, new_at), num_threads=int(threads), backend=backend
    )
    present = _handed(present_name, present_at)
    own = backend if present.kind == new.file.kind else "auto"
    try:
        old = Classifier.from_file(present, num_threads=int(threads), backend=own)
    except FerEdgeError:  # no fault of the new one's
        old = None
    print(json.dumps(asdict(Probe(*_times(new, old)))))
    return 0


def _handed(name: str, descriptor: str) -> ModelFile:
    with os.fdopen(int(descriptor), "rb") as file:
        file.seek(0)  # the parent wrote to its end
        return take_apart(Path(name), file.read())


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
