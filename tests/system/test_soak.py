"""A run with every fault of a camera, over and over: its memory does not grow.

Twenty seconds by default; the real thing is ``make soak``: twenty minutes, with the
result as JSON. It sets ``FER_EDGE_SOAK_MINUTES`` and ``FER_EDGE_SOAK_JSON``.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.common.documents import machine_card, now
from edge_runtime import __version__
from edge_runtime.utils.files import write_text
from tests.system.service_run import running

SCHEMA = "fer-edge/soak/1"
SECONDS = 60 * float(os.environ.get("FER_EDGE_SOAK_MINUTES", "0.33"))
# The summary keeps the times of 10,000 frames; until then memory grows as it should.
WARM_UP_S = min(400.0, SECONDS / 2)
SAMPLE_S = 0.25
# A run may take 33 MiB more than a bare script with the same libraries and model (90
# where that takes 57). Not the sum: how much of a library counts as resident depends on
# how the kernel maps its file, by 30 MiB between two copies of the same environment.
MOST_OVER_BARE_MIB = 33.0
BARE = """
import sys, cv2, numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[1])
interpreter.allocate_tensors()
wanted = interpreter.get_input_details()[0]
interpreter.set_tensor(wanted["index"], np.zeros(wanted["shape"], wanted["dtype"]))
interpreter.invoke()
status = open("/proc/self/status").read().split("VmRSS:")[1]
print(int(status.split()[0]) / 1024)
"""
# Allocators keep pages in steps. Over minutes 70 bytes a frame would be seen.
LONG = SECONDS >= 300
NOISE_MIB = 0.5 if LONG else 2.0
PICTURE_MIB = 160 * 120 * 3 / 2**20  # the least step of an allocator that had one more
# Each fault lasts a second, and five more are allowed; hang follows slow.
MOST_SILENCE_S = 7.0
ROUND_S = 16
SCRIPT = (
    "freeze@1s+1s,drop@3s+1s,black@5s+1s,garbage@6s+1s,disconnect@8s+1s,"
    "resize@10s+2s=320x240,slow@13s+1s=3,hang@15s+1s"
)


def round_medians(points: Sequence[tuple[float, float]]) -> list[float]:
    """Returns the median of y in each whole round of faults, from (seconds, y)."""
    rounds: dict[int, list[float]] = {}
    for at_s, value in points:
        rounds.setdefault(int(at_s // ROUND_S), []).append(value)
    whole = [rounds[number] for number in sorted(rounds)][1:-1]
    return [statistics.median(values) for values in whole]


def growth(levels: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Returns how much levels grew from first to last, and the 95 % interval of that.

    By the median of the slopes of all pairs (Theil 1950, Sen 1968). Resident memory is
    a staircase: an allocator's arena grows by a whole picture when one more than ever
    before is alive in it, and stays so. A least-squares line through one such step has
    a tiny standard error; the median slope hardly sees it.
    """
    slope, _, low, high = stats.theilslopes(levels)
    last = len(levels) - 1
    return last * float(slope), (last * float(low), last * float(high))


def bare_resident_mib(model: Path) -> float:
    """Returns the resident memory of a script that only loads and calls the model."""
    command = [sys.executable, "-c", BARE, str(model)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def document(**found: Any) -> dict[str, Any]:
    """Returns the result of a soak, JSON-ready; MiB, seconds."""
    return {
        "schema": SCHEMA,
        "created": now(),
        "version": __version__,
        "machine": machine_card(),
        "minutes": round(SECONDS / 60, 2),
        "warm_up_s": WARM_UP_S,
        "script": f"every {ROUND_S} s: {SCRIPT}",
        "limits": {
            "grown_mib": NOISE_MIB,
            "resident_mib_over_bare": MOST_OVER_BARE_MIB,
            "longest_silence_s": MOST_SILENCE_S,
        },
        **found,
    }


def keep(result: dict[str, Any]) -> None:
    """Writes a result where it was asked for."""
    if path := os.environ.get("FER_EDGE_SOAK_JSON"):
        write_text(Path(path), json.dumps(result, indent=2) + "\n")


@pytest.mark.parametrize("noise_mib", [0.01, 0.03, 0.1])
def test_leak_is_seen_and_noise_and_a_single_step_are_not(noise_mib: float) -> None:
    noise = np.random.default_rng(1).normal(50, noise_mib, 48)
    step = noise + PICTURE_MIB * (np.arange(48) > 30)
    leak = noise + np.linspace(0, 0.3, 48)
    assert growth(noise)[1][0] < PICTURE_MIB
    assert growth(step)[1][0] < PICTURE_MIB
    grown, (low, high) = growth(leak)
    assert PICTURE_MIB < low < grown < high
    assert grown == pytest.approx(0.3, abs=3 * noise_mib)


def test_medians_are_those_of_whole_rounds() -> None:
    points = [(float(at), float(at // ROUND_S)) for at in range(10, 5 * ROUND_S + 3)]
    assert round_medians(points) == [1, 2, 3, 4]


@pytest.mark.timeout(SECONDS + 120)
def test_memory_does_not_grow_over_a_soak_with_faults(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    source = f"fake:scene?fps=100&size=160x120&repeat={ROUND_S}&script={SCRIPT}"
    patience = ("--stall-after", "0.5", "--frozen-after", "0.5", "--reopen-limit", "0")
    outputs = ("--json", "--events", str(tmp_path / "events.jsonl"))
    arguments = (str(tiny_model_path), "--source", source, *patience, *outputs)
    samples: list[tuple[float, float]] = []
    with running(tmp_path, *arguments, "--faces", "none") as run:
        run.wait_for_frames(5)
        started = time.monotonic()
        while (at_s := time.monotonic() - started) < SECONDS:
            assert run.alive, run.said
            if at_s > WARM_UP_S:
                samples.append((at_s, run.memory_mib()))
            time.sleep(SAMPLE_S)
        resident = run.resident_mib()
        gaps = [b - a for a, b in zip(run.times_s, run.times_s[1:], strict=False)]
        ended_s = run.end()
    grown, interval = growth(round_medians(samples)) if LONG else (0.0, (0.0, 0.0))
    per_s = statistics.linear_regression(*zip(*samples, strict=True)).slope
    result = document(
        answers=len(run.times_s),
        longest_silence_s=round(max(gaps), 2),
        resident_mib=round(resident, 1),
        bare_resident_mib=round(bare_resident_mib(tiny_model_path), 1),
        grown_mib=round(per_s * (SECONDS - WARM_UP_S), 3),
        slope_mib_per_hour=round(3600 * per_s, 2),
        rounds_grown_mib=round(grown, 3),
        rounds_grown_interval_mib=[round(bound, 3) for bound in interval],
        picture_mib=round(PICTURE_MIB, 3),
        ended_s=round(ended_s, 2),
        exit_code=run.process.returncode,
    )
    keep(result)  # whether it is good or not
    print("\n" + json.dumps(result, indent=2))
    assert result["grown_mib"] < NOISE_MIB, samples[:: max(1, len(samples) // 50)]
    assert interval[0] < PICTURE_MIB, "more than chance and a step of the allocator"
    assert resident < result["bare_resident_mib"] + MOST_OVER_BARE_MIB
    assert max(gaps) < MOST_SILENCE_S
    assert ended_s < 2  # as in test_faults.py
    assert run.process.returncode == 0
