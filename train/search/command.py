"""The commands of a search: trainings and exports, each a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import RunError

END_S = 60.0  # for what an interrupted training still saves and measures
MAX_LINE = 500
ERROR = "error: "


@dataclass(frozen=True)
class Command:
    """A running command.

    Attributes:
        process: The process.
        log: Where its output goes.
        start: Bytes in the log before it.
    """

    process: subprocess.Popen[bytes]
    log: Path
    start: int

    def ends_within(self, seconds: float) -> bool:
        """Returns whether it has ended, after waiting for that."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def interrupt(self) -> None:
        """Ends it as Ctrl-C does: it saves what it has."""
        self.process.send_signal(signal.SIGINT)
        self.ends_within(END_S)

    def reason(self) -> str:
        """Returns why it ended: its own error line, else its last one or its signal."""
        code = self.process.returncode
        if code < 0:
            return f"ended by signal {-code}"
        text = self.log.read_bytes()[self.start :].decode("utf-8", "replace")
        said = [line for line in text.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith(ERROR)]
        last = (errors or said or [f"exit code {code}"])[-1]
        return last.removeprefix(ERROR)[:MAX_LINE]


@contextmanager
def running(
    module: str, arguments: Sequence[str], *, log: Path, environment: Mapping[str, str]
) -> Iterator[Command]:
    """Yields ``python -m MODULE``, which ends with the body at the latest.

    It is in a session of its own: Ctrl-C in a terminal is the worker's alone.

    Args:
        module: train or export.
        arguments: Its flags.
        log: File that its output is appended to.
        environment: Its environment.

    Raises:
        RunError: It cannot be started, or the log cannot be written.
    """
    parent = str(os.getpid())
    words = [sys.executable, "-m", "train.search.child", parent, module, *arguments]
    try:
        with log.open("ab") as output:
            start = output.tell()
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )
    except OSError as error:
        raise RunError(f"cannot start python -m {module}: {error}") from error
    try:
        yield Command(process, log, start)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def run_export(
    arguments: Sequence[str], *, log: Path, environment: Mapping[str, str]
) -> None:
    """Runs ``python -m export`` to its end.

    Raises:
        RunError: It failed; the message is its own.
    """
    with running("export", arguments, log=log, environment=environment) as command:
        if command.process.wait():
            raise RunError(f"python -m export: {command.reason()}")
