"""Reads, loads and times a new model in a child process: a crash there is a refusal.

A damaged graph, or a kernel with an instruction that this CPU lacks, can kill the
process that runs it, and a hostile file may take its memory and time while it is
parsed. So a child reads the new model's metadata, loads it (this replays its golden
vectors) and times it in alternation with the present one. It is handed, in memory, the
bytes whose signature was verified: the file at the path may have changed since.
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
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from edge_runtime.errors import FerEdgeError, ModelError
from edge_runtime.inference.classifier import Classifier
from edge_runtime.model_file.container import (
    ModelFile,
    model_file_bytes,
    parse_model_file,
)
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.model_update.task import check_same_task, read_spec
from edge_runtime.utils.argparser import exit_code_of

TIMEOUT_S = 60.0
WARM_UP, REPEATS = 3, 30
NICENESS = 10  # the camera has priority
_MAX_OOM_SCORE = "1000"  # man 5 proc: the kernel kills this process first
_POLL_S = 0.1


class ProbeResult(NamedTuple):
    """What a child measured.

    Attributes:
        new_ms: Median time of the new model for one image, in ms.
        present_ms: The present model's; None if the child could not load it.
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
    stop: threading.Event | None = None,
) -> ProbeResult:
    """Returns how fast a model runs in a fresh process.

    Args:
        new: The new model, as it was verified; its metadata may be unread.
        present: The running one.
        threads: CPU threads.
        backend: Inference library, or ``"auto"``.
        timeout_s: Seconds after which the child is killed.
        stop: Set when the run ends: the child is killed.

    Raises:
        ModelError: It cannot be loaded, crashed the process, or took too long; or
            ``stop`` was set.
    """
    deadline_s = time.monotonic() + timeout_s
    try:
        with in_memory(new) as new_fd, in_memory(present) as present_fd:
            command = [
                *(sys.executable, "-m", __name__, new.name, present.name),
                *(str(new_fd), str(present_fd), str(threads), backend),
            ]
            done = _run(command, (new_fd, present_fd), deadline_s, stop)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModelError(
            f"{new.name}: expected an answer from a fresh process within"
            f" {timeout_s:g} s, got {type(error).__name__}"
        ) from error
    if done.returncode:
        reason = _failure(done)
        raise ModelError(reason if new.name in reason else f"{new.name}: {reason}")
    return ProbeResult(**json.loads(done.stdout.splitlines()[-1]))


@contextlib.contextmanager
def in_memory(file: ModelFile) -> Iterator[int]:
    """Yields a descriptor of an unnamed file with a model file's bytes."""
    with _unnamed_file() as copy:
        copy.write(model_file_bytes(file))
        copy.flush()
        yield copy.fileno()


def _unnamed_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("model"), "wb")
    return tempfile.TemporaryFile()  # a Python that was built for an older C library


def _run(
    command: list[str],
    descriptors: Sequence[int],
    deadline_s: float,
    stop: threading.Event | None,
) -> subprocess.CompletedProcess[str]:
    """Runs a child, which has ended when this returns or raises."""
    with subprocess.Popen(
        command,
        pass_fds=descriptors,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            while stop is None or not stop.is_set():
                try:
                    out, err = child.communicate(timeout=_POLL_S)
                except subprocess.TimeoutExpired:
                    if time.monotonic() > deadline_s:
                        raise
                else:
                    code = child.returncode
                    return subprocess.CompletedProcess(command, code, out, err)
            raise ModelError("the run ended while a new model was probed")
        finally:
            child.kill()  # does nothing if it has ended


def main(arguments: list[str]) -> int:
    """Runs in the child: loads both models and prints a ``ProbeResult`` as JSON."""
    with contextlib.suppress(OSError):  # a hardened unit may forbid it
        os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_MAX_OOM_SCORE, encoding="ascii")
    new_name, present_name, new_fd, present_fd, threads, backend = arguments
    new_file, file = _read(new_name, new_fd), _read(present_name, present_fd)
    spec = read_spec(new_file)
    if file.document:
        check_same_task(spec, ModelSpec.from_document(file.document), new_name)
    new = Classifier.from_file(new_file, num_threads=int(threads), backend=backend)
    if file.kind != new.file.kind:
        backend = "auto"
    try:
        present = Classifier.from_file(file, num_threads=int(threads), backend=backend)
    except FerEdgeError:  # not the new model's fault
        present = None
    print(json.dumps(_measure(new, present)._asdict()))
    return 0


def _read(name: str, descriptor: str) -> ModelFile:
    with os.fdopen(int(descriptor), "rb") as file:
        file.seek(0)  # the parent has written up to its end
        return parse_model_file(Path(name), file.read())


def _measure(new: Classifier, present: Classifier | None) -> ProbeResult:
    """Returns median times, measured in alternation."""
    new_ms, present_ms = [], []
    for _ in range(WARM_UP + REPEATS):
        new_ms.append(_time_one(new))
        present_ms.append(_time_one(present) if present else 0.0)
    return ProbeResult(
        statistics.median(new_ms[WARM_UP:]),
        statistics.median(present_ms[WARM_UP:]) if present else None,
    )


def _time_one(model: Classifier) -> float:
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
