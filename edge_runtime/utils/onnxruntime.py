"""The only import of ONNX Runtime in this project: with its telemetry off."""

from __future__ import annotations

import importlib
import os
from typing import Any

from edge_runtime.utils.stderr import suppress_stderr


def import_onnxruntime(submodule: str = "") -> Any:
    """Returns ONNX Runtime, or one of its submodules, with telemetry off.

    On some systems the wheel reports usage to its maker; a camera must not.

    Args:
        submodule: Its dotted name below ``onnxruntime``, such as ``"quantization"``.

    Raises:
        ImportError: It is not installed, or cannot be loaded.
    """
    # Read when the library loads, also by processes that this one starts.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    with suppress_stderr():
        library = importlib.import_module("onnxruntime")
    library.disable_telemetry_events()
    if not submodule:
        return library
    return importlib.import_module(f"onnxruntime.{submodule}")
