"""ONNX Runtime for tests: where it is missing, the test that needs it skips."""

from __future__ import annotations

from typing import Any

import pytest

from edge_runtime.utils.onnxruntime import import_onnxruntime


def require_onnxruntime() -> Any:
    """Returns ONNX Runtime; skips the calling test where it is not installed."""
    try:
        return import_onnxruntime()
    except ImportError:
        pytest.skip("ONNX Runtime is not in this environment")
