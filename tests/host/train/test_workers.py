"""Processes beside this one: the same results, and none of them outlives it."""

import os
import signal
import subprocess
import sys
import time
from operator import add, truediv
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import DatasetError, FerEdgeError
from train.data.decoding import prepare
from train.data.image_formats import ImageFormat
from train.data.image_stores import EncodedBatch
from train.data.workers import Workers, available_cores

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 60


def wait_for(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize("count", [1, 3])
def test_results_come_in_the_order_of_the_calls(count):
    with Workers(count) as workers:
        found = list(workers.map(add, ((i, 1000) for i in range(50))))
    assert found == [1000 + i for i in range(50)]


def test_arrays_arrive_as_they_were_and_can_be_changed():
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    with Workers(2) as workers:
        (same,) = workers.map(np.copy, [(image,)])
    assert np.array_equal(same, image)
    same[0] = 0


def test_calls_are_read_only_a_few_ahead():
    """A generator of 10 GB of images must not be read into memory."""
    taken = []

    def calls():
        for i in range(100):
            taken.append(i)
            yield i, 0

    with Workers(2) as workers:
        results = workers.map(add, calls())
        next(results)
        assert len(taken) < 10


@pytest.mark.parametrize("count", [1, 2])
def test_error_of_a_call_is_raised_and_the_next_call_works(count):
    with Workers(count) as workers:
        with pytest.raises(ZeroDivisionError):
            list(workers.map(truediv, [(1, 0)]))
        assert list(workers.map(add, [(1, 2), (3, 4), (5, 6)])) == [3, 7, 11]


def test_own_error_of_a_call_keeps_its_message():
    damaged = EncodedBatch([b"no image"], ImageFormat(8, "grey", "stretch"), prepare)
    with Workers(2) as workers, pytest.raises(DatasetError, match="no longer"):
        list(workers.map(damaged.__call__, [()]))


def test_killed_process_is_one_clear_error():
    with Workers(2) as workers:
        for process in workers._processes:
            process.kill()
            process.wait()
        with pytest.raises(FerEdgeError, match="--workers"):
            list(workers.map(add, [(1, 2)]))


def test_closing_ends_the_processes_also_in_the_middle_of_a_call():
    workers = Workers(2)
    future = workers.submit(time.sleep, lambda: (SECONDS,))
    wait_for(future.running)
    pids = [process.pid for process in workers._processes]
    workers.close()
    assert not any(map(is_running, pids))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_the_one_that_started_them(how):
    code = (
        "from operator import add\n"
        "from train.data.workers import Workers\n"
        "import signal, time\n"
        # The test may run where Ctrl-C is ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "workers = Workers(2)\n"
        "list(workers.map(add, [(1, 2)] * 4))\n"
        "print(*(each.pid for each in workers._processes), flush=True)\n"
        f"time.sleep({SECONDS})\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    assert all(map(is_running, pids))
    parent.send_signal(how)
    _, messages = parent.communicate(timeout=SECONDS)
    assert messages.count("Traceback") == (how == signal.SIGINT)  # the parent's own
    wait_for(lambda: not any(map(is_running, pids)))


def test_process_imports_no_training_library():
    from train.data.workers import SERVE

    code = SERVE.replace("serve()", "import sys; print('numpy' in sys.modules)", 1)
    code += "; import train.data.batches, train.data.decoding"
    code += "; print([n for n in ('tensorflow', 'keras') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_script_that_uses_processes_is_not_run_again(tmp_path):
    """multiprocessing would import it once more in each process."""
    script = tmp_path / "script.py"
    script.write_text(
        "from operator import add\nfrom train.data.workers import Workers\n"
        "print('once')\n"
        "with Workers(2) as workers:\n    print(list(workers.map(add, [(1, 2)])))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == ["once", "[3]"], done.stderr


def test_at_least_one_core_is_available():
    assert available_cores() >= 1
