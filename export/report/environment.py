"""What the figures of an export were measured with, without saying on whose machine."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from export.trained_model import TrainedModel

LIBRARIES = ("ai-edge-litert", "onnxruntime", "numpy")
KEPT_OF_DATA = ("name", "fingerprint", "validation_from")
CPU_INFO = Path("/proc/cpuinfo")


def environment(subject: TrainedModel) -> dict[str, Any]:
    """Returns data, revision, libraries, machine and threads, JSON-ready.

    No path, host name or user name is in it; what is not known is None or empty.
    """
    origin = subject.spec.origin
    data = origin.get("data", {})
    return {
        "data": {key: data[key] for key in KEPT_OF_DATA if key in data},
        "git_revision": origin.get("git_revision"),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "machine": {
            "cpu": _cpu(),
            "architecture": platform.machine(),
            "cores": os.cpu_count(),
            "load_average": round(os.getloadavg()[0], 2),
        },
        "threads": 1,
    }


def _cpu() -> str:
    """Returns the processor's name, such as Linux tells it."""
    if CPU_INFO.exists():
        for line in CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
