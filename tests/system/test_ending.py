"""SIGTERM: whatever a run is doing, it ends within a second, with everything said.

Each time is the median of three ends: one alone may be another program's fault.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import socket
import statistics
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.system.broker import MISSING, MOSQUITTO, Broker, free_port
from tests.system.service_run import ROOT, Run, running
from tests.waiting import until

END_S = 1.0
TIMES = 3
CAMERA = "fake:scene?fps=30&size=320x240"
needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason=MISSING)


@contextmanager
def begun(
    model: Path, folder: Path, *more: str, camera: str = CAMERA, listen: bool = True
) -> Iterator[Run]:
    """Yields a run that has answered a few frames."""
    events = folder / "events.jsonl"
    events.unlink(missing_ok=True)
    arguments = ("--json", "--faces", "none", "--source", camera)
    arguments += ("--events", str(events), *more)
    with running(folder, str(model), *arguments, listen=listen) as run:
        if listen:
            run.wait_for_frames(5)
        run.wait_for(lambda: events.exists() and events.stat().st_size, 30, "events")
        yield run


def end(run: Run) -> float:
    seconds = run.end()
    assert run.process.returncode == 0, run.said
    assert "Traceback" not in run.said
    events = (run.log.parent / "events.jsonl").read_text()
    assert all(json.loads(line) for line in events.splitlines())
    return seconds


@contextmanager
def watching(port: int, count: int, *, reading: bool) -> Iterator[None]:
    """Has clients look at the live picture, or only ask for it."""
    with ExitStack() as stack:
        for _ in range(count):
            line = stack.enter_context(socket.socket())
            if not reading:  # else loopback takes megabytes before it pushes back
                line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", port))
            line.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if reading:
                thread = threading.Thread(target=_read, args=(line,))
                thread.start()
                stack.callback(thread.join)
        time.sleep(1)
        yield


def _read(line: socket.socket) -> None:
    try:
        while line.recv(65536):
            pass
    except OSError:
        return


def test_run_ends_within_a_second(tiny_model_path: Path, tmp_path: Path) -> None:
    taken = []
    for _ in range(TIMES):
        with begun(tiny_model_path, tmp_path) as run:
            taken.append(end(run))
    assert statistics.median(taken) < END_S, taken


def test_run_with_watchers_ends_within_a_second(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    pytest.importorskip("aiohttp", reason="serves the page")
    taken = []
    for _ in range(TIMES):
        port = free_port()
        with (
            begun(tiny_model_path, tmp_path, "--serve", str(port)) as run,
            watching(port, 3, reading=True),
        ):
            taken.append(end(run))
    assert statistics.median(taken) < END_S, taken


def test_run_that_nobody_reads_ends_within_a_second(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    taken = []
    for _ in range(TIMES):
        with begun(tiny_model_path, tmp_path, listen=False) as run:
            wait_for_a_full_pipe(run)
            taken.append(end(run))
    assert statistics.median(taken) < END_S, taken


@pytest.mark.parametrize("frames", [100_000, 140], ids=["goes on", "is over"])
def test_run_of_a_file_that_nobody_reads_ends_within_a_second(
    tiny_model_path: Path, tmp_path: Path, frames: int
) -> None:
    """Its frames wait for the reader, and that one never comes."""
    source = f"fake:scene?fps=30&size=160x120&clock=virtual&frames={frames}"
    arguments = ("--json", "--faces", "none", "--source", source)
    taken = []
    for _ in range(TIMES):
        with running(tmp_path, str(tiny_model_path), *arguments, listen=False) as run:
            wait_for_a_full_pipe(run)
            taken.append(run.end())
            assert run.process.returncode == 0, run.said
            assert "unwritten" in run.said
            assert "Traceback" not in run.said
    assert statistics.median(taken) < END_S, taken


def test_run_on_a_terminal_that_stands_still_goes_on_and_ends_within_a_second(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    """Somebody pressed Ctrl-S."""
    command = [sys.executable, "-m", "edge_runtime", "run", str(tiny_model_path)]
    command += ["--faces", "none", "--source", CAMERA]
    taken = []
    for number in range(TIMES):
        table = tmp_path / f"{number}.csv"
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [*command, "--csv", str(table)], cwd=ROOT, stdout=theirs, stderr=theirs
        ) as process:
            try:
                until(lambda one=table: size(one) > 1000, 30)
                termios.tcflow(theirs, termios.TCOOFF)
                time.sleep(1)
                before = size(table)
                until(lambda one=table, than=before: size(one) > than + 1000, 5)
                started = time.monotonic()
                process.terminate()
                assert process.wait(10) == 0
                taken.append(time.monotonic() - started)
            finally:
                process.kill()
                os.close(ours)
                os.close(theirs)
    assert statistics.median(taken) < END_S, taken


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_run_that_tries_a_new_model_ends_within_a_second_and_its_child_with_it(
    tiny_model_path: Path, tiny_float_path: Path, tmp_path: Path
) -> None:
    taken = []
    for number in range(TIMES):
        folder = tmp_path / f"models{number}"
        folder.mkdir()
        with begun(tiny_model_path, tmp_path, "--watch", str(folder)) as run:
            shutil.copy(tiny_float_path, folder / "new.tflite")
            run.wait_for(lambda one=run: bool(_children(one)), 20, "a child")
            (child,) = _children(run)
            taken.append(end(run))
        assert not Path(f"/proc/{child}").exists()
        assert not [one for one in folder.iterdir() if one.name != "new.tflite"]
    assert statistics.median(taken) < END_S, taken


def _children(run: Run) -> list[str]:
    threads = Path(f"/proc/{run.process.pid}/task").glob("*/children")
    return [child for one in threads for child in one.read_text().split()]


@needs_broker
def test_run_with_a_broker_ends_within_a_second_and_says_so(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    broker = Broker(tmp_path, "allow_anonymous true")
    broker.start()
    url = f"mqtt://127.0.0.1:{broker.port}/home/door"
    taken = []
    try:
        for _ in range(TIMES):
            with begun(tiny_model_path, tmp_path, "--mqtt", url) as run:
                taken.append(end(run))
            assert _retained(broker.port, "home/door/availability") == b"offline"
    finally:
        broker.kill()
    assert statistics.median(taken) < END_S, taken


@needs_broker
def test_run_ends_within_a_second_while_everything_hangs(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    """The camera hangs, the broker and three browsers are silent, stdout is full."""
    pytest.importorskip("aiohttp", reason="serves the page")
    broker = Broker(tmp_path, "allow_anonymous true")
    broker.start()
    url = f"mqtt://127.0.0.1:{broker.port}/home/door"
    camera = "fake:scene?fps=100&size=320x240&script=hang@5s+60s"
    taken = []
    try:
        for _ in range(TIMES):
            port = free_port()
            outputs = ("--serve", str(port), "--mqtt", url, "--stall-after", "60")
            with (
                begun(
                    tiny_model_path, tmp_path, *outputs, camera=camera, listen=False
                ) as run,
                watching(port, 3, reading=False),
            ):
                wait_for_a_full_pipe(run)
                time.sleep(5)
                with broker.frozen():
                    taken.append(end(run))
    finally:
        broker.kill()
    assert statistics.median(taken) < END_S, taken


def wait_for_a_full_pipe(run: Run) -> None:
    """Waits until its stdout takes no more lines."""
    sizes = [0]

    def stands_still() -> bool:
        time.sleep(0.5)
        sizes.append(_waiting_bytes(run))
        return sizes[-1] == sizes[-2] > 0

    run.wait_for(stands_still, 60, "a full pipe")


def _waiting_bytes(run: Run) -> int:
    assert run.process.stdout is not None
    size = bytearray(4)
    fcntl.ioctl(run.process.stdout, termios.FIONREAD, size)
    return int.from_bytes(size, sys.byteorder)


def _retained(port: int, topic: str) -> bytes:
    from paho.mqtt import subscribe

    message = subscribe.simple(topic, hostname="127.0.0.1", port=port)
    return bytes(message.payload)
