"""Processes that compute beside this one, for what Python's threads would queue for.

Each is a Python of its own that reads calls from its stdin and ends with it, so none
outlives this process, however it ends. Not ``multiprocessing``: a fork would share the
threads and locks of TensorFlow, and its other ways run the user's script again.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeVar, cast

from edge_runtime.errors import FerEdgeError

Result = TypeVar("Result")
SERVE = "from train.data.workers import serve; serve()"
QUEUED_PER_WORKER = 2


def available_cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Workers:
    """Calls functions in several processes; with one, in a thread of this process.

    Functions and arguments are pickled. What a function's module imports, the process
    imports: numpy, OpenCV, for several image sets SciPy, never TensorFlow.
    """

    def __init__(self, count: int) -> None:
        """Starts the processes; one imports in a quarter of a second.

        Args:
            count: How many calls run at a time.
        """
        self.count = count
        self._processes = [_start() for _ in range(count)] if count > 1 else []
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for process in self._processes:
            self._idle.put(process)
        self._threads = ThreadPoolExecutor(count, "workers")

    def submit(
        self, function: Callable[..., Result], arguments: Callable[[], tuple[Any, ...]]
    ) -> Future[Result]:
        """Returns the future result of a call.

        Args:
            function: A function of a module.
            arguments: Gives its arguments, when it is its turn.
        """
        return self._threads.submit(lambda: self._call(function, *arguments()))

    def map(
        self, function: Callable[..., Result], calls: Iterable[tuple[Any, ...]]
    ) -> Iterator[Result]:
        """Yields the results of calls in their order, computed a few ahead.

        Args:
            function: A function of a module.
            calls: The arguments of each call; read no further than needed.
        """
        waiting: deque[Future[Result]] = deque()
        try:
            for args in calls:
                waiting.append(self._threads.submit(self._call, function, *args))
                if len(waiting) > QUEUED_PER_WORKER * self.count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        """Ends the processes; calls that have not begun are dropped."""
        for process in self._processes:
            process.kill()  # nothing of what they do is kept
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):  # what was not sent any more
                    if pipe is not None:
                        pipe.close()
            process.wait()

    def __enter__(self) -> Workers:
        """Returns this."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the processes."""
        self.close()

    def _call(self, function: Callable[..., Result], *args: Any) -> Result:
        if not self._processes:
            return function(*args)
        process = self._idle.get()
        try:
            result, error = _ask(process, (function, args))
        except (OSError, EOFError, pickle.UnpicklingError) as failure:
            code = process.poll()
            raise FerEdgeError(
                "a process that prepares images has ended"
                f" ({'exit code ' + str(code) if code else failure}): if the memory is"
                " full, choose fewer --workers, or 1 for none"
            ) from failure
        finally:
            self._idle.put(process)  # also a dead one: its next call fails at once
        if error is not None:
            raise error
        return cast(Result, result)


def serve() -> None:
    """Answers calls from stdin on stdout until stdin ends."""
    import cv2

    cv2.setNumThreads(1)  # there is a process for each core
    calls, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is not a result
    while True:
        try:
            function, args = pickle.load(calls)
        except EOFError:
            return
        answer: tuple[Any, Exception | None]
        try:
            answer = function(*args), None
        except Exception as error:
            answer = None, error
        try:
            pickle.dump(answer, results, pickle.HIGHEST_PROTOCOL)
            results.flush()
        except BrokenPipeError:
            os._exit(0)  # the one who asked has ended


def _start() -> subprocess.Popen[bytes]:
    path = os.pathsep.join(each or str(os.curdir) for each in sys.path)
    return subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C is for the training alone
    )


def _ask(process: subprocess.Popen[bytes], call: tuple[Any, ...]) -> tuple[Any, Any]:
    if process.stdin is None or process.stdout is None:
        raise EOFError("closed")
    pickle.dump(call, process.stdin, pickle.HIGHEST_PROTOCOL)
    process.stdin.flush()
    answer: tuple[Any, Any] = pickle.load(process.stdout)
    return answer
