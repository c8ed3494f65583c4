"""What all tests share: where the data is, and what python is."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.onnx_runtime import require_onnxruntime

# No verdict hangs on the time that an example takes.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

# As with an activated environment: what is to be typed next then begins with python.
os.environ["PATH"] = os.pathsep.join(
    (str(Path(sys.executable).parent), os.environ["PATH"])
)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """Tests and their child processes get Ctrl-C: background jobs start ignoring it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    """A file or connection left open fails its own module, not any later test."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    return ROOT / "tests" / "data"


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Real data beside the checkout; a test that needs it skips where it is absent."""
    return ROOT.parent / "shared"


@pytest.fixture(scope="session")
def tiny_model_path(data_folder: Path) -> Path:
    return data_folder / "tiny.int8.tflite"


@pytest.fixture(scope="session")
def tiny_float_path(data_folder: Path) -> Path:
    return data_folder / "tiny.float32.tflite"


@pytest.fixture(scope="session")
def tiny_onnx_path(data_folder: Path) -> Path:
    require_onnxruntime()
    return data_folder / "tiny.float32.onnx"
