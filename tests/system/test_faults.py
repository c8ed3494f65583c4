"""Things go wrong while it runs: no crash, and answers again within five seconds."""

from __future__ import annotations

import json
import logging
import os
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.__main__ import main
from tests.system.broker import MISSING, MOSQUITTO, Broker
from tests.system.conftest import NOT_A_PART
from tests.system.service_run import Run, running

RECOVERY_S = 5.0
# The pauses between tries grow: long enough to meet the longest of them.
OUTAGE_S = 9.0
# The promise is one second, and test_ending.py holds it; here each run ends once, on a
# machine that may be doing something else as well.
END_S = 2.0
CAMERA = "fake:scene?fps=15&size=320x240"
BEGIN_S, LENGTH_S = 1.5, 2.0
FAULTS = (
    *("freeze", "drop", "black", "garbage"),
    *("disconnect", "hang", "resize", "slow"),
)
# Faults are borne for less than a second; each frame is a face, no detector is needed.
FLAGS = ("--faces", "none", "--stall-after", "0.7", "--frozen-after", "0.7")
RESTLESS = ("--half-life", "0.1", "--dwell", "0", "--margin", "0")  # many events


def ended_well(run: Run) -> None:
    assert run.alive, run.said
    assert run.end() < END_S
    assert run.process.returncode == 0, run.said
    assert "Traceback" not in run.said


# --- the camera ---------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """A run with one fault: what it did afterwards, and how it ended."""

    back_after_s: float
    code: int
    said: str


@pytest.fixture(scope="module")
def outcomes(
    tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Outcome]:
    """Runs with one fault each, side by side: they mostly wait."""

    folder = tmp_path_factory.mktemp("faults")  # not threadsafe: once, for all

    def outcome(fault: str) -> Outcome:
        (folder / fault).mkdir()
        source = f"{CAMERA}&script={fault}@{BEGIN_S}s+{LENGTH_S}s"
        arguments = (str(tiny_model_path), "--json", "--source", source, *FLAGS)
        with running(folder / fault, *arguments) as run:
            run.wait_for_frames(1)
            over = run.times_s[0] + BEGIN_S + LENGTH_S
            run.wait_for(lambda: time.monotonic() > over, 20, "the fault's end")
            before = len(run.times_s)
            run.wait_for_frames(5)
            run.end()
            code = run.process.returncode
        return Outcome(run.times_s[before] - over, code, run.said)

    with ThreadPoolExecutor(len(FAULTS)) as pool:
        return dict(zip(FAULTS, pool.map(outcome, FAULTS), strict=True))


@pytest.mark.parametrize("fault", FAULTS)
def test_answers_are_back_after_the_camera_was_at_fault(
    outcomes: dict[str, Outcome], fault: str
) -> None:
    assert outcomes[fault].back_after_s < RECOVERY_S


@pytest.mark.parametrize("fault", FAULTS)
def test_run_ends_well_after_the_camera_was_at_fault(
    outcomes: dict[str, Outcome], fault: str
) -> None:
    outcome = outcomes[fault]
    assert (outcome.code, "Traceback" in outcome.said) == (0, False), outcome.said


def test_wait_for_a_lost_camera_keeps_the_watchdog_quiet(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(2.0)
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
        source = f"{CAMERA}&script=disconnect@1s"  # for ever
        arguments = (str(tiny_model_path), "--json", "--source", source, *FLAGS)
        with running(tmp_path, *arguments, environment=told) as run:
            run.wait_for(lambda: "opening it again" in run.said, 30, "the loss")
            answered = len(run.times_s)
            until = time.monotonic() + 3
            while time.monotonic() < until:
                systemd.recv(100)  # raises after 2 s of silence, as systemd would kill
            assert len(run.times_s) == answered
            ended_well(run)


def test_hung_loop_is_not_covered_up(tiny_model_path: Path, tmp_path: Path) -> None:
    """A process that was stopped beats no more: nothing but the loop does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
        window = "import time; time.sleep(60)"
        site = tmp_path / "site"
        site.mkdir()
        # The loop hangs in its tenth frame, as in a library that never returns.
        (site / "sitecustomize.py").write_text(
            "import sys\n"
            "from edge_runtime import results\n"
            "made = results.FrameResult.__init__\n"
            "def hang(self, *a, **k):\n"
            f"    if k.get('index', 0) >= 10:\n        {window}\n"
            "    made(self, *a, **k)\n"
            "results.FrameResult.__init__ = hang\n"
        )
        told["PYTHONPATH"] = str(site)
        arguments = (str(tiny_model_path), "--json", "--source", CAMERA, *FLAGS)
        with running(tmp_path, *arguments, environment=told) as run:
            run.wait_for_frames(5)
            run.wait_for(lambda: _quiet_for(systemd, 2.0), 20, "silence")
            assert run.alive


def _quiet_for(systemd: socket.socket, seconds: float) -> bool:
    systemd.settimeout(seconds)
    try:
        systemd.recv(100)
    except TimeoutError:
        return True
    return False


# --- disks --------------------------------------------------------------------------


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """Yields a file system of its own, which can be filled or made read-only."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
    )
    if done.returncode:
        pytest.skip(f"{NOT_A_PART}mounting a small disk needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "small", "256k") as folder:
        yield folder


@pytest.fixture
def large_disk(tmp_path: Path) -> Iterator[Path]:
    """One that is never filled: it takes no more memory than its files."""
    with mounted(tmp_path / "large", "1g") as folder:
        yield folder


def _fill(folder: Path) -> Path:
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return path


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def wait_through_an_outage(run: Run) -> None:
    """Waits as long as faults last here; answers must go on all the time."""
    until = time.monotonic() + OUTAGE_S
    while time.monotonic() < until:
        run.wait_for_frames(5, RECOVERY_S)


def events_in(answers: list[dict[str, Any]]) -> list[tuple[float, str]]:
    return [
        (event["time_s"], event["event"])
        for answer in answers
        for event in answer["events"]
    ]


def test_full_disk_stops_no_answer_loses_no_event_and_is_written_again_in_time(
    tiny_model_path: Path, tmp_path: Path, small_disk: Path
) -> None:
    table, events = small_disk / "faces.csv", small_disk / "events.jsonl"
    files = ("--csv", str(table), "--events", str(events))
    arguments = (str(tiny_model_path), "--json", "--source", CAMERA, *FLAGS, *RESTLESS)
    with running(tmp_path, *arguments, *files) as run:
        run.wait_for(lambda: table.exists() and _lines(table) > 5, 30, "rows")
        filler = _fill(small_disk)
        run.wait_for(lambda: "No space left" in run.said, 15, "word of it")
        wait_through_an_outage(run)
        rows, before = _lines(table), _lines(events)
        filler.unlink()
        run.wait_for(lambda: _lines(table) > rows, RECOVERY_S, "rows again")
        run.wait_for(lambda: _lines(events) > before, RECOVERY_S, "events again")
        assert run.said.count("No space left") <= 2  # one for each: no flood
        ended_well(run)
        said = run.said
    written = [json.loads(line) for line in events.read_text().splitlines()]
    assert [(one["time_s"], one["event"]) for one in written] == events_in(run.answers)
    assert len(written) > before + 3
    assert "--events works again; dropped so far: 0" in said


def test_disk_that_is_read_only_for_a_while_stops_no_answer_and_is_written_again(
    tiny_model_path: Path, tmp_path: Path, large_disk: Path
) -> None:
    pictures = large_disk / "pictures"
    arguments = (str(tiny_model_path), "--json", "--source", CAMERA, *FLAGS)
    with running(tmp_path, *arguments, "--record", str(pictures)) as run:
        run.wait_for_frames(10)
        # A mount that is written to cannot become read-only: as the kernel does it
        # after an error, by force.
        for _ in range(100):
            changed = subprocess.run(
                ["mount", "-o", "remount,ro", str(large_disk)], capture_output=True
            )
            if changed.returncode == 0:
                break
            time.sleep(0.02)
        else:
            pytest.fail("the disk was in use all the time")
        run.wait_for(lambda: "Read-only" in run.said, 15, "word of it")
        wait_through_an_outage(run)
        kept = len(list(pictures.iterdir()))
        subprocess.run(["mount", "-o", "remount,rw", str(large_disk)], check=True)
        more = lambda: len(list(pictures.iterdir())) > kept  # noqa: E731
        run.wait_for(more, RECOVERY_S, "pictures again")
        assert run.said.count("Read-only") == 1  # no flood
        ended_well(run)


def test_limit_on_file_size_does_not_stop_the_answers(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    table = tmp_path / "faces.csv"
    source = "fake:scene?fps=60&size=160x120"
    arguments = (str(tiny_model_path), "--json", "--source", source, *FLAGS)
    with running(tmp_path, *arguments, "--csv", str(table), before=limit) as run:
        run.wait_for(lambda: "too large" in run.said, 60, "word of it")
        run.wait_for_frames(15)
        assert table.stat().st_size <= 20_000
        assert table.read_bytes().endswith(b"\n")  # a row is whole or absent
        ended_well(run)


# --- readers ------------------------------------------------------------------------


def test_reader_of_stdout_that_never_reads_does_not_stop_the_rest(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    table = tmp_path / "faces.csv"
    source = "fake:scene?fps=60&size=160x120"
    arguments = (str(tiny_model_path), "--json", "--source", source, *FLAGS)
    with running(tmp_path, *arguments, "--csv", str(table), listen=False) as run:
        run.wait_for(lambda: table.exists() and _lines(table) > 400, 60, "rows")
        ended_well(run)


def test_browser_that_never_reads_does_not_stop_the_rest(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    pytest.importorskip("aiohttp", reason="serves the page")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = (str(tiny_model_path), "--json", "--source", CAMERA, *FLAGS)
    with running(tmp_path, *arguments, "--serve", str(port)) as run:
        run.wait_for_frames(3)
        with socket.socket() as browser:
            browser.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            browser.connect(("127.0.0.1", port))
            browser.sendall(b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            run.wait_for_frames(60)
            ended_well(run)


# --- the broker ---------------------------------------------------------------------


@pytest.mark.skipif(MOSQUITTO is None, reason=MISSING)
def test_broker_that_is_gone_for_a_while_stops_no_answer_and_misses_no_event(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    from paho.mqtt.client import CallbackAPIVersion, Client

    broker = Broker(tmp_path, "allow_anonymous true", keeps=True)
    broker.start()
    heard: list[dict[str, Any]] = []
    # The broker keeps what this listener subscribed to: it need not be back first.
    listener = Client(CallbackAPIVersion.VERSION2, "listener", clean_session=False)
    subscribed = threading.Event()
    listener.on_connect = lambda *_: listener.subscribe("home/door/events", qos=1)
    listener.on_subscribe = lambda *_: subscribed.set()
    listener.on_message = lambda *of: heard.append(json.loads(of[-1].payload))
    listener.reconnect_delay_set(1, 1)
    listener.connect("127.0.0.1", broker.port)
    listener.loop_start()
    url = f"mqtt://127.0.0.1:{broker.port}/home/door"
    arguments = (str(tiny_model_path), "--json", "--source", CAMERA, *FLAGS, *RESTLESS)
    try:
        assert subscribed.wait(10)
        with running(tmp_path, *arguments, "--mqtt", url) as run:
            run.wait_for(lambda: len(heard) > 1, 30, "events")
            broker.stop()
            run.wait_for(lambda: "--mqtt" in run.said, 15, "word of it")
            wait_through_an_outage(run)
            before = len(heard)
            broker.start()
            run.wait_for(lambda: len(heard) > before, RECOVERY_S, "events again")
            all_of_it = {at_s for at_s, _ in events_in(run.answers)}
            run.wait_for(
                lambda: {one["time_s"] for one in heard} >= all_of_it, 15, "all events"
            )
            assert run.said.count("trying again") == 1  # no flood
            ended_well(run)
    finally:
        listener.loop_stop()
        broker.kill()
    assert len(all_of_it) > before + 3


# --- the model ----------------------------------------------------------------------


def test_garbage_is_refused_and_a_good_model_taken_while_frames_go_on(
    tiny_model_path: Path, tiny_float_path: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    arguments = (str(tiny_model_path), "--json", "--source", CAMERA, *FLAGS)
    watch = ("--watch", str(models), "--watch-frames", "10", "--watch-slowdown", "1000")
    with running(tmp_path, *arguments, *watch, journal=True) as run:
        run.wait_for_frames(3)
        (models / "a.tflite").write_bytes(os.urandom(20_000))
        (models / "loop.tflite").symlink_to(models / "loop.tflite")
        run.wait_for(lambda: "a.tflite refused" in run.said, 30, "a refusal")
        good = tiny_float_path.read_bytes()
        (models / "b.tflite").write_bytes(good[: len(good) // 2])
        run.wait_for(lambda: "b.tflite refused" in run.said, 30, "a refusal")
        (models / "b.tflite").write_bytes(good)
        run.wait_for(lambda: "b.tflite accepted" in run.said, 60, "the swap")
        numbers = [answer["frame"] for answer in run.answers]
        assert numbers == sorted(set(numbers))
        ended_well(run)


def test_model_file_that_is_overwritten_with_garbage_changes_nothing(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    model = tmp_path / "fer.int8.tflite"
    model.write_bytes(tiny_model_path.read_bytes())
    with running(tmp_path, str(model), "--json", "--source", CAMERA, *FLAGS) as run:
        run.wait_for_frames(5)
        with model.open("r+b") as file:
            file.write(os.urandom(model.stat().st_size))
        run.wait_for_frames(30)
        assert run.answers[-1]["faces"]
        ended_well(run)


# --- the clock ----------------------------------------------------------------------


def test_clock_that_jumps_changes_no_answer_and_opens_no_camera_again(
    tiny_model_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    jumps = iter(range(10**9))
    real = time.time

    def jumping() -> float:
        """A day on, a year back: as when the network sets a board's clock."""
        return real() + (86_400 if next(jumps) % 2 else -31_536_000)

    monkeypatch.setattr(time, "time", jumping)
    source = f"{CAMERA}&frames=40"
    arguments = ["run", str(tiny_model_path), "--json", "--source", source, *FLAGS]
    assert main(arguments) == 0
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) >= 30
    assert not [one for one in caplog.records if "opening" in one.getMessage()]
