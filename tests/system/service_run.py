"""A run in a process of its own, watched from outside as systemd and readers would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
START_S = 30.0  # a loaded machine


@dataclass
class Run:
    """A process whose answers are noted as they come.

    Attributes:
        process: It.
        times_s: ``time.monotonic()`` of each line on its stdout.
        answers: The lines.
        log: File of its stderr.
    """

    process: subprocess.Popen[bytes]
    log: Path
    times_s: list[float] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def said(self) -> str:
        return self.log.read_text()

    def listen(self) -> None:
        """Notes answers until the end (in a thread)."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.answers.append(json.loads(line))
            self.times_s.append(time.monotonic())

    def wait_for(self, happened: Callable[[], bool], seconds: float, what: str) -> None:
        """Waits until something happened, as long as the process lives."""
        end = time.monotonic() + seconds
        while not happened():
            assert self.alive, f"it ended with {self.process.returncode}: {self.said}"
            assert time.monotonic() < end, f"{what}: not in {seconds} s: {self.said}"
            time.sleep(0.02)

    def wait_for_frames(self, count: int, seconds: float = START_S) -> None:
        wanted = len(self.times_s) + count
        self.wait_for(lambda: len(self.times_s) >= wanted, seconds, f"{count} frames")

    def end(self) -> float:
        """Asks it to end as systemd does; returns the seconds it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        return time.monotonic() - started

    def memory_mib(self) -> float:
        """Returns the memory that is its own, without pages of files."""
        return self._status_mib("RssAnon")

    def resident_mib(self) -> float:
        """Returns all of its resident memory."""
        return self._status_mib("VmRSS")

    def _status_mib(self, key: str) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == key:
                return int(value.split()[0]) / 1024
        raise AssertionError(f"the kernel tells no {key}")


def _journal(descriptor: int) -> dict[str, str]:
    """Returns what systemd says of a stderr that goes to its journal."""
    found = os.fstat(descriptor)
    return {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}


@contextmanager
def running(
    folder: Path,
    *arguments: str,
    listen: bool = True,
    environment: dict[str, str] | None = None,
    journal: bool = False,
    before: Callable[[], None] | None = None,
) -> Iterator[Run]:
    """Yields ``python -m edge_runtime run`` with some arguments; ends it afterwards.

    Args:
        folder: Where its log goes.
        arguments: Behind ``run``.
        listen: Read its stdout; otherwise nobody does.
        environment: Added to this process's.
        journal: Its log is a journal, as in a service: information is logged, too.
        before: Called in the child before it becomes Python.
    """
    log = folder / "stderr.txt"
    command = [sys.executable, "-m", "edge_runtime", "run", *arguments]
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={
                **os.environ,
                **(environment or {}),
                **(_journal(stderr.fileno()) if journal else {}),
            },
            preexec_fn=before,
            stderr=stderr,
            stdout=subprocess.PIPE,
        ) as process,
    ):
        run = Run(process, log)
        thread = threading.Thread(target=run.listen, daemon=True)
        try:
            if listen:
                thread.start()
            yield run
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            if listen:
                thread.join(10)
