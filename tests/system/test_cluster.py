"""The scripts of examples/cluster, with stand-ins that start local processes."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.system.test_several_devices import await_epoch, write_faces
from train.run.lock import LOCK_FILE

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("jax") is None, reason="jax is not installed"
    ),
    pytest.mark.timeout(900),
]

CLUSTER = ROOT / "examples" / "cluster"
FLAGS = ("--arch", "fer_tiny", "--epochs", "1", "--batch-size", "28", "--threads", "1")
SRUN = """\
#!/bin/bash
echo "cores for each task: $SRUN_CPUS_PER_TASK"
while [[ $1 == --* ]]; do shift; done
export SLURM_STEP_NUM_TASKS=2 SLURM_STEP_TASKS_PER_NODE=2 SLURM_STEP_NODELIST=localhost
for task in 0 1; do
    SLURM_PROCID=$task SLURM_LOCALID=$task "$@" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || exit; done
"""
SSH = f"""\
#!{sys.executable}
# With a terminal there, which hangs up when this ends.
import os, pty, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # "nohup" ignores it
sys.exit(os.waitstatus_to_exitcode(pty.spawn(["bash", "-c", sys.argv[-1]])))
"""


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    """Child processes get SIGINT: those of a shell's background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with images and, first on the path, what stands in for the cluster's."""
    write_faces(tmp_path / "faces")
    for name, text in (("srun", SRUN), ("ssh", SSH)):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    return tmp_path


def free_port(ports: Iterable[int] = (0,)) -> int:
    for port in ports:
        with (
            contextlib.suppress(OSError),
            socket.create_server(("127.0.0.1", port)) as server,
        ):
            free: int = server.getsockname()[1]
            return free
    raise AssertionError("no port is free")


def environment(place: Path, **variables: str) -> dict[str, str]:
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    common = {"PATH": path, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    return {**os.environ, **common, **variables}


def run(place: Path, *words: str, **variables: str) -> str:
    done = subprocess.run(
        words,
        cwd=place,
        env=environment(place, **variables),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_slurm_trains_on_two_tasks_and_the_same_job_again_resumes(place: Path) -> None:
    # Of its number the job's port is made, as in train/parallel/place.py.
    job = f"{free_port(range(61_440, 65_536)) - 61_440}"
    script = ("bash", str(CLUSTER / "slurm.sh"))
    given = {"SLURM_JOB_ID": job, "SLURM_CPUS_PER_TASK": "3"}
    first = run(place, *script, "--data", "faces", *FLAGS, **given)
    assert "cores for each task: 3" in first
    assert "training on cpu:0, cpu:2048 (jax)" in first
    assert "epoch   1/1" in first
    again = run(place, *script, "--data", "faces", *FLAGS, SLURM_JOB_ID=job)
    assert "measuring epoch 1" in again
    assert "epoch   1/1" not in again


def test_ssh_trains_on_two_hosts_with_flags_as_they_were_typed(place: Path) -> None:
    (place / "faces").rename(place / "my faces")
    script = (str(CLUSTER / "ssh.sh"), "localhost", "127.0.0.1", "--")
    words = ("--data", "my faces", "--name", "two", *FLAGS)
    out = run(place, *script, *words, PORT=f"{free_port()}")
    assert "training on cpu:0, cpu:2048 (jax)" in out
    config = json.loads((place / "runs" / "two" / "config.json").read_text())
    assert config["config"]["data"] == "my faces"


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_ctrl_c_of_the_ssh_script_ends_all_and_the_first_one_measures(
    place: Path,
) -> None:
    script = (str(CLUSTER / "ssh.sh"), "localhost", "127.0.0.1", "--")
    words = ("--data", "faces", "--name", "two", *FLAGS, "--epochs", "100000")
    folder = place / "runs" / "two"
    with subprocess.Popen(
        [*script, *words],
        cwd=place,
        env=environment(place, PORT=f"{free_port()}"),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as started:
        try:
            await_epoch(folder, started, 1)
            os.killpg(started.pid, signal.SIGINT)  # as a terminal does
            assert started.wait(300) != 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
    while (folder / LOCK_FILE).exists():
        time.sleep(0.1)
    assert (folder / "metrics.json").is_file()
