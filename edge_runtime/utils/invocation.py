"""The command that calls one of the programs, for next steps and remedies."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from functools import cache
from pathlib import Path


@cache
def invocation(program: str = "edge_runtime") -> str:
    """Returns ``python -m PROGRAM``, with the path of this Python where needed.

    The path is needed where ``python`` is another one, as in a virtual environment that
    is not activated; below the current folder it is relative.

    Args:
        program: The package that is run.
    """
    python = Path(sys.executable)
    for folder in os.get_exec_path():
        first = Path(folder, "python")
        if os.access(first, os.X_OK):
            if first.parent == python.parent:
                return f"python -m {program}"
            break
    with contextlib.suppress(OSError, ValueError):  # no current folder, or elsewhere
        python = python.relative_to(Path.cwd())
    return f"{shlex.quote(str(python))} -m {program}"
