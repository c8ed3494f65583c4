"""How long a run takes to end after SIGTERM."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

MAX_SECONDS = 1.0


@pytest.mark.parametrize(
    "script", ["", "&script=hang@0.3s+60s"], ids=["busy", "hanging"]
)
def test_sigterm_ends_a_camera_within_a_second(
    tiny_model_path: Path, script: str
) -> None:
    command = [sys.executable, "-m", "edge_runtime", "run", str(tiny_model_path)]
    source = f"fake:scene?fps=20&size=160x120{script}"
    with subprocess.Popen(
        [*command, "--source", source, "--faces", "none", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.6)
        started_s = time.monotonic()
        process.terminate()
        process.communicate(timeout=30)
        elapsed_s = time.monotonic() - started_s
    assert process.returncode == 0
    assert elapsed_s < MAX_SECONDS
