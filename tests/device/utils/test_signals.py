"""A run ends soon after it is asked to, with nothing lost, whatever it waits for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edge_runtime.utils import signals as stopping_module
from edge_runtime.utils.signals import handle_signals

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    "script", ["", "&script=hang@0.3s+60s"], ids=["busy", "hanging"]
)
def test_sigterm_ends_a_camera_soon(tiny_model_path: Path, script: str) -> None:
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
        asked = time.monotonic()
        process.terminate()
        rest = process.stdout.read()
        process.wait(timeout=10)
        taken_s = time.monotonic() - asked
    assert process.returncode == 0
    assert [json.loads(line)["faces"] for line in rest.splitlines()]
    assert taken_s < 2.0  # within a second on a machine without other work


def test_signal_is_noted_its_echo_ignored_and_a_later_one_is_the_systems_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = signal.default_int_handler  # a shell's background jobs ignore it
    found = signal.signal(signal.SIGINT, before)
    with handle_signals() as stop:
        assert stop.signal is None
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # "timeout -s INT": also to its group
        assert stop.signal == signal.SIGINT
        monkeypatch.setattr(stopping_module, "ECHO_S", -1.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.signal(signal.SIGINT, found) == before


def test_ctrl_c_is_told_by_the_exit_code() -> None:
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


def test_process_ends_with_its_code_and_everything_said() -> None:
    program = (
        "import sys, threading, time\n"
        "from edge_runtime.utils.signals import exit_now\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "print('said', end='')\n"
        "print('told', end='', file=sys.stderr)\n"
        "exit_now(3)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"said", b"told")


def test_end_that_cannot_be_written_is_no_success() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    program = (
        "print('said'); from edge_runtime.utils.signals import exit_now as e; e(0)"
    )
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=30,
        )
    assert done.returncode != 0
    assert b"No space left" in done.stderr


@pytest.mark.parametrize("unbuffered", ["1", ""], ids=["at once", "at the end"])
def test_full_disk_behind_stdout_is_one_line_and_no_traceback(
    tiny_model_path: Path, unbuffered: str
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    command = [sys.executable, "-m", "edge_runtime", "check", str(tiny_model_path)]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode not in (0, 1)
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr
