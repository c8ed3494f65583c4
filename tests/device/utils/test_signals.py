"""A run ends after a signal, with nothing lost, whatever it waits for."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.utils import signals as signals_module
from edge_runtime.utils.signals import handle_signals

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    "script", ["", "&script=hang@0.3s+60s"], ids=["busy", "hanging"]
)
def test_sigterm_ends_a_camera_that_would_go_on(
    tiny_model_path: Path, script: str
) -> None:
    """How soon is measured by ``tests/performance``."""
    command = [sys.executable, "-m", "edge_runtime", "run", str(tiny_model_path)]
    source = f"fake:scene?fps=20&size=160x120{script}"
    with subprocess.Popen(
        [*command, "--source", source, "--faces", "none", "--json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.6)
        process.terminate()
        output, _ = process.communicate(timeout=30)  # half of what the camera hangs
    assert process.returncode == 0
    assert [json.loads(line)["faces"] for line in output.splitlines()]


def test_first_signal_is_noted_its_echo_ignored_and_a_later_one_has_its_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = signal.default_int_handler  # a shell's background jobs ignore it
    saved = signal.signal(signal.SIGINT, before)
    with handle_signals() as stop:
        assert stop.signal is None
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # "timeout -s INT": also to its group
        assert stop.signal == signal.SIGINT
        monkeypatch.setattr(signals_module, "ECHO_S", -1.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.signal(signal.SIGINT, saved) == before


@pytest.fixture
def hangup_is_heard() -> Iterator[None]:
    """Child processes get SIGHUP: those of ``nohup`` ignore it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


VIDEO_RUN = ("--faces", "none", "--output")
SOURCE = ("--source", "fake:scene?fps=20&size=160x120")


def wait_for_video(folder: Path) -> None:
    deadline_s = time.monotonic() + 60
    while not any(path.stat().st_size for path in folder.iterdir()):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    time.sleep(0.5)


@pytest.mark.usefixtures("hangup_is_heard")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_video_is_complete_after_a_signal(
    tiny_model_path: Path, tmp_path: Path, number: int
) -> None:
    command = [sys.executable, "-m", "edge_runtime", "run", str(tiny_model_path)]
    with subprocess.Popen(
        [*command, *SOURCE, *VIDEO_RUN, str(tmp_path / "out.avi")],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    ) as process:
        wait_for_video(tmp_path)
        process.send_signal(number)
        assert process.wait(30) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.avi"]


@pytest.mark.usefixtures("hangup_is_heard")
def test_video_is_complete_after_its_terminal_went_away(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    """As when an SSH session breaks: SIGHUP, and a terminal that takes no output."""
    command = [sys.executable, "-m", "edge_runtime", "run", str(tiny_model_path)]
    command += [*SOURCE, *VIDEO_RUN, str(tmp_path / "out.avi")]
    terminal, its_end = pty.openpty()
    # A session's first process gets the terminal that it opens.
    shell = ["sh", "-c", 'exec "$@" <>"$0" >&0 2>&0', os.ttyname(its_end), *command]
    with subprocess.Popen(shell, cwd=ROOT, start_new_session=True) as process:
        wait_for_video(tmp_path)
        os.close(its_end)
        os.close(terminal)
        assert process.wait(30) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.avi"]


def test_ignored_hangup_stays_ignored() -> None:
    """As ``nohup`` has it."""
    saved = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handle_signals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.signal is None
    finally:
        signal.signal(signal.SIGHUP, saved)


def test_exit_code_after_ctrl_c() -> None:
    with handle_signals() as stop:
        signal.raise_signal(signal.SIGINT)
    assert stop.exit_code == 130


def test_another_thread_runs_without_handlers() -> None:
    signals = []

    def run() -> None:
        with handle_signals() as stop:
            signals.append(stop.signal)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert signals == [None]


def test_process_ends_with_its_code_and_its_output() -> None:
    program = (
        "import sys, threading, time\n"
        "from edge_runtime.utils.signals import exit_now\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "print('out', end='')\n"
        "print('err', end='', file=sys.stderr)\n"
        "exit_now(3)\n"
    )
    command = [sys.executable, "-c", program]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=30)
    assert (completed.returncode, completed.stdout, completed.stderr) == (
        3,
        b"out",
        b"err",
    )


def test_output_that_cannot_be_written_is_no_success() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    program = "print('out'); from edge_runtime.utils.signals import exit_now as e; e(0)"
    with Path("/dev/full").open("wb") as full:
        completed = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=30,
        )
    assert completed.returncode != 0
    assert b"No space left" in completed.stderr


def test_stdout_closed_at_the_start_is_no_traceback(tiny_model_path: Path) -> None:
    run = [sys.executable, "-m", "edge_runtime", "run", str(tiny_model_path)]
    run += ["--source", "fake:scene", "--faces", "none", "--max-frames", "2"]
    command = ["sh", "-c", '"$@" >&-', "sh", *run]
    completed = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, timeout=60)
    assert (completed.returncode, completed.stderr) == (0, b"")


@pytest.mark.parametrize("unbuffered", ["1", ""], ids=["at once", "at the end"])
def test_full_disk_behind_stdout_is_one_line_and_no_traceback(
    tiny_model_path: Path, unbuffered: str
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    command = [sys.executable, "-m", "edge_runtime", "check", str(tiny_model_path)]
    with Path("/dev/full").open("wb") as full:
        completed = subprocess.run(
            command,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert completed.returncode not in (0, 1)
    assert "Traceback" not in completed.stderr
    assert "No space left on device" in completed.stderr
