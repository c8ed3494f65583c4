"""Threads that may be left behind are used again, and end."""

from __future__ import annotations

import threading
import time

from edge_runtime.utils.workers import WorkerPool


def test_idle_thread_makes_the_next_call() -> None:
    crew, threads = WorkerPool("crew"), set[threading.Thread]()
    for _ in range(20):
        returned = crew.call(lambda: threads.add(threading.current_thread()))
        assert returned.wait(20)
    crew.shutdown()
    assert len(threads) == 1


def test_call_that_hangs_holds_up_no_other() -> None:
    crew, release = WorkerPool("crew"), threading.Event()
    hanging = crew.call(lambda: release.wait(20) and None)
    assert crew.call(lambda: None).wait(20)
    assert not hanging.is_set()
    release.set()
    assert hanging.wait(20)
    crew.shutdown()


def test_dismissed_threads_end_the_hanging_one_after_its_call() -> None:
    crew, release = WorkerPool("dismissed"), threading.Event()
    crew.call(lambda: release.wait(20) and None)
    crew.call(lambda: None).wait(20)
    crew.shutdown()
    release.set()
    until = time.monotonic() + 20
    while any(one.name == "dismissed" for one in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.01)
