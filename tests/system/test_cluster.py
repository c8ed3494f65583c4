"""The scripts of examples/cluster, with stand-ins that start local processes."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.system.test_several_devices import write_faces

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
while [[ $1 == --* ]]; do shift; done
export SLURM_STEP_NUM_TASKS=2 SLURM_STEP_TASKS_PER_NODE=2 SLURM_STEP_NODELIST=localhost
for task in 0 1; do
    SLURM_PROCID=$task SLURM_LOCALID=$task "$@" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || exit; done
"""
SSH = '#!/bin/bash\nexec bash -c "${@: -1}"\n'


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


def run(place: Path, *words: str, **variables: str) -> str:
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    common = {"PATH": path, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        words,
        cwd=place,
        env={**os.environ, **common, **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_slurm_trains_on_two_tasks_and_the_same_job_again_resumes(place: Path) -> None:
    # Of its number the job's port is made, as in train/parallel/place.py.
    job = f"{free_port(range(61_440, 65_536)) - 61_440}"
    script = ("bash", str(CLUSTER / "slurm.sh"))
    first = run(place, *script, "--data", "faces", *FLAGS, SLURM_JOB_ID=job)
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
