"""What to type to call this program again: for next steps and remedies."""

from __future__ import annotations

import os
import shlex
import sys
from functools import cache
from pathlib import Path


@cache
def own_command() -> str:
    """Returns ``python -m edge_runtime``, or with the path of this Python.

    The path is needed where ``python`` is another one, as with a virtual environment
    that is used without being activated.
    """
    here = Path(sys.executable)
    for folder in os.get_exec_path():
        found = Path(folder, "python")
        if os.access(found, os.X_OK):
            if found.parent == here.parent:
                return "python -m edge_runtime"
            break
    return f"{shlex.quote(sys.executable)} -m edge_runtime"
