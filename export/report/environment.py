"""The conditions in which the figures of an export were measured."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

from edge_runtime.hardware.board import read_cpu
from export.trained_model import TrainedModel

LIBRARIES = ("ai-edge-litert", "onnxruntime", "numpy")
KEPT_OF_DATA = ("name", "fingerprint", "validation_from")


def environment(trained: TrainedModel) -> dict[str, Any]:
    """Returns data, revision, libraries, machine and threads, JSON-ready.

    It contains no path, host name or user name. What is not known is None or empty.
    """
    origin = trained.spec.origin
    data = origin.get("data", {})
    return {
        "data": {key: data[key] for key in KEPT_OF_DATA if key in data},
        "git_revision": origin.get("git_revision"),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "machine": {
            "cpu": read_cpu().name,
            "architecture": platform.machine(),
            "cores": os.cpu_count(),
            "load_average": round(os.getloadavg()[0], 2),
        },
        "threads": 1,
    }
