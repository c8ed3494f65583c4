"""Nothing in the user's folder changes the network; a wrong backend is one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROBE = """
from train.networks.backend import start_keras
start_keras()
import keras
from train.networks.architectures import build_model
model = build_model("fer_small", size_px=16, channels=1, classes=2)
layer = next(each for each in model.layers if "conv" in each.name)
print(keras.backend.backend(), keras.config.floatx(), keras.config.epsilon(),
      layer.data_format, layer.dtype_policy.name)
"""


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_keras_json_changes_nothing(tmp_path):
    """All of its values at once; each of them changed the network alone."""
    (tmp_path / "keras.json").write_text(
        json.dumps(
            {
                "floatx": "float16",
                "epsilon": 0.1,
                "backend": "torch",
                "image_data_format": "channels_first",
            }
        )
    )
    done = run(PROBE, KERAS_HOME=str(tmp_path))
    expected = "tensorflow float32 1e-07 channels_last float32\n"
    assert done.stdout == expected, done.stderr


def test_keras_brings_nothing_along_that_is_not_used():
    """What it would import besides takes as long as Keras itself, and 200 MiB."""
    code = """
import sys
from importlib import import_module
from importlib.util import find_spec
from train.networks.backend import start_keras
start_keras()
names = {"jax", "matplotlib", "pandas", "sklearn"}
print(names & set(sys.modules))
for name in filter(find_spec, names):
    import_module(name)
"""
    done = run(code)
    assert (done.stdout, done.returncode) == ("set()\n", 0), done.stderr


@pytest.mark.parametrize("text", ['{"floatx": "float31"}', '{"epsilon": 1}', "[]"])
def test_keras_json_that_stops_keras_is_one_line(tmp_path, text):
    (tmp_path / "keras.json").write_text(text)
    code = "from train.__main__ import main; raise SystemExit(main([]))"
    done = run(code, KERAS_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "delete that file" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("backend", "part"),
    [
        ("pytorch", "of jax, tensorflow, torch, got 'pytorch': did you mean torch?"),
        ("tensorflo", "did you mean tensorflow?"),
        ("theano", "got 'theano'"),
        ("openvino", "got 'openvino'"),
    ],
)
def test_backend_that_does_not_exist_is_one_line(monkeypatch, backend, part):
    from edge_runtime.errors import ConfigError
    from train.networks.backend import start_keras

    monkeypatch.setenv("KERAS_BACKEND", backend)
    with pytest.raises(ConfigError) as refused:
        start_keras()
    assert part in str(refused.value)
