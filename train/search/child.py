"""``python -m train.search.child PARENT MODULE ARGUMENT...``: ends with its parent.

A worker that is killed leaves no training behind that nobody waits for.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

INTERVAL_S = 0.5


def main() -> None:
    """Runs a module as ``python -m`` does, and ends when the parent has ended."""
    # A job in the background starts with Ctrl-C ignored; the worker sends it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parent, module, *arguments = sys.argv[1:]
    watcher = threading.Thread(target=_end_with, args=(int(parent),), daemon=True)
    watcher.start()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:  # a process without parent gets another one
        time.sleep(INTERVAL_S)
    os._exit(1)


if __name__ == "__main__":
    main()
