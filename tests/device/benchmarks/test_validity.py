"""VALID or INVALID: on a machine whose files say so, and on this one under load."""

import json
import os
import subprocess
import sys
import time

import pytest

from benchmarks.common.conditions import (
    ConditionMonitor,
    Counters,
    others_share,
    read_counters,
)
from benchmarks.common.validity import require_valid, verdict, verdict_lines
from edge_runtime.errors import MeasurementError

FREQUENCY = "sys/devices/system/cpu/cpu0/cpufreq"
GOVERNOR = f"{FREQUENCY}/scaling_governor"
CURRENT = f"{FREQUENCY}/scaling_cur_freq"
TEMPERATURE = "sys/class/thermal/thermal_zone0/temp"
THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
BURN = "import time; end = time.time() + 20\nwhile time.time() < end: pass"


class Board:
    """The files of a Raspberry Pi under a folder, as its kernel writes them."""

    def __init__(self, root):
        self.root = root
        self.idle()

    def idle(self):
        self.write(GOVERNOR, "performance\n")
        self.write(CURRENT, "1800000\n")
        self.write(f"{FREQUENCY}/cpuinfo_max_freq", "1800000\n")
        self.write(TEMPERATURE, "51121\n")
        self.write(THROTTLED, "50000\n")  # happened since boot, before we came
        self.write(
            "proc/stat", "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0 0 0 0\ncpu1 0 0 0 0\n"
        )
        self.write("proc/vmstat", "pswpin 7\npswpout 9\n")

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def board(tmp_path):
    return Board(tmp_path)


def judged(board, *changes):
    monitor = ConditionMonitor(board.root)
    for name, text in changes:
        board.write(name, text)
    monitor.sample()
    return verdict(monitor.finish())


def test_quiet_board_is_valid(board):
    assert judged(board) == {
        "valid": True,
        "reasons": [],
        "unknown": ["competing load"],
    }


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        pytest.param(CURRENT, "600000\n", "600 of 1800 MHz", id="clock fell"),
        pytest.param(GOVERNOR, "ondemand\n", "governor changed", id="governor changed"),
        pytest.param(TEMPERATURE, "82300\n", "82 degrees", id="too hot"),
        pytest.param(THROTTLED, "50005\n", "under-voltage, throttled", id="throttled"),
        pytest.param(THROTTLED, "70000\n", "frequency capped", id="capped in between"),
        pytest.param("proc/vmstat", "pswpin 9\npswpout 9\n", "2 pages", id="swapped"),
    ],
)
def test_reason_is_named(name, text, message, board):
    found = judged(board, (name, text))
    assert not found["valid"]
    assert len(found["reasons"]) == 1
    assert message in found["reasons"][0]


def test_trouble_that_is_over_at_the_end_is_seen(board):
    monitor = ConditionMonitor(board.root)
    board.write(TEMPERATURE, "85000\n")
    monitor.sample()
    board.idle()
    assert not verdict(monitor.finish())["valid"]


def test_powersave_at_full_speed_is_valid_and_below_it_is_not(board):
    board.write(GOVERNOR, "powersave\n")
    assert judged(board)["valid"]
    found = judged(board, (CURRENT, "900000\n"))
    assert "set 'performance'" in found["reasons"][0]


def test_conditions_that_cannot_be_read_are_valid_and_listed(tmp_path):
    found = verdict(ConditionMonitor(tmp_path).finish())
    assert found["valid"]
    assert len(found["unknown"]) == 6


def test_broken_files_do_not_raise(board):
    for path in board.root.rglob("*"):
        if path.is_file():
            path.write_bytes(b"\xff\xfe: x\n\ncpu x\n")
    assert json.dumps(verdict(ConditionMonitor(board.root).finish()), allow_nan=False)


def test_share_of_others_is_what_this_program_did_not_use():
    before = Counters(clock_s=10, busy_s=100, own_s=5, cores=2, swapped_pages=0)
    after = Counters(clock_s=14, busy_s=106, own_s=9, cores=2, swapped_pages=0)
    # Two cores for 4 s: 8 s; 6 were used, 4 of them by this program.
    assert others_share(before, after) == pytest.approx(0.25)


def test_share_of_others_needs_half_a_second():
    before = Counters(clock_s=10, busy_s=100, own_s=5, cores=2, swapped_pages=0)
    after = Counters(clock_s=10.4, busy_s=101, own_s=5, cores=2, swapped_pages=0)
    assert others_share(before, after) is None


def test_own_work_is_not_that_of_others():
    before = read_counters()
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    used = read_counters().own_s - before.own_s
    assert 0.05 < used <= 0.4


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/stat")
def test_other_processes_on_all_cores_make_it_invalid():
    burning = [
        subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(os.cpu_count())
    ]
    try:
        time.sleep(0.3)
        monitor = ConditionMonitor()
        time.sleep(1.0)
        found = verdict(monitor.finish())
    finally:
        for process in burning:
            process.kill()
            process.wait()
    assert not found["valid"]
    assert "other programs used" in found["reasons"][0]


def test_unsteady_rows_are_named(board):
    rows = [
        {"model": "m", "threads": 1, "spread": 1.1, "stable": True},
        {"model": "n", "threads": 2, "spread": 9.0, "stable": True},
        {"model": "o", "threads": 2, "spread": 1.0, "stable": False},
    ]
    found = verdict(ConditionMonitor(board.root).finish(), rows)
    assert [reason[0] for reason in found["reasons"]] == ["n", "o"]


def test_invalid_measurement_is_one_error_with_its_reasons():
    document = {"verdict": {"valid": False, "reasons": ["too hot"], "unknown": []}}
    with pytest.raises(MeasurementError, match="too hot"):
        require_valid(document)
    assert "INVALID" in verdict_lines(document)[0]
    require_valid({"verdict": {"valid": True, "reasons": [], "unknown": []}})
