"""What to type to call this program again: for next steps and remedies."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from functools import cache
from pathlib import Path


@cache
def invocation() -> str:
    """Returns ``python -m edge_runtime``, or with the path of this Python.

    The path is needed where ``python`` is another one, as with a virtual environment
    that is used without being activated; it begins here where it can.
    """
    here = Path(sys.executable)
    for folder in os.get_exec_path():
        found = Path(folder, "python")
        if os.access(found, os.X_OK):
            if found.parent == here.parent:
                return "python -m edge_runtime"
            break
    with contextlib.suppress(OSError, ValueError):  # no folder here, or elsewhere
        here = here.relative_to(Path.cwd())
    return f"{shlex.quote(str(here))} -m edge_runtime"
