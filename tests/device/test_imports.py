"""What runs on the device loads no training library and no other package of ours."""

import importlib.util
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import edge_runtime

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = (
    "tensorflow",
    "keras",
    "onnx",
    "tf2onnx",
    "ai_edge_quantizer",
    "matplotlib",
    "train",
    "export",
    "benchmarks",
)
MODULES = sorted(
    f"edge_runtime.{module.name}"
    for module in pkgutil.walk_packages(edge_runtime.__path__)
)
# What --mqtt and --serve need; a device without them runs without them.
OPTIONAL = ("aiohttp", "paho", "prometheus_client")
BLOCK = f"import sys\nfor name in {FORBIDDEN!r}:\n    sys.modules[name] = None\n"


def run_python(code, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True
    )


def test_every_module_imports_where_training_libraries_do_not_exist():
    names = [name for name in MODULES if "__main__" not in name]
    absent = [name for name in OPTIONAL if importlib.util.find_spec(name) is None]
    imports = (
        "import importlib\n"
        f"for name in {names!r}:\n"
        "    try:\n        importlib.import_module(name)\n"
        "    except ModuleNotFoundError as error:\n"
        f"        if error.name not in {absent!r}:\n            raise\n"
    )
    done = run_python(BLOCK + imports + "import edge_runtime.__main__\nprint('done')")
    assert done.stdout == "done\n", done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("name", FORBIDDEN)
def test_the_block_stops_a_planted_import(tmp_path, name):
    """Otherwise the test above could not fail."""
    package = tmp_path / "edge_runtime"
    package.mkdir()
    (package / "__init__.py").write_text(f"def f():\n    import {name}\n\nf()\n")
    done = run_python(BLOCK + "import edge_runtime", cwd=tmp_path)
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr


def test_importing_the_package_loads_no_inference_library():
    code = (
        "import sys, edge_runtime\n"
        "print([n for n in ('ai_edge_litert', 'tflite_runtime', 'onnxruntime')"
        " if n in sys.modules])"
    )
    assert run_python(code).stdout.strip() == "[]"


# What a picture's first label does not need, and what takes long.
LATE = (
    "importlib.metadata",
    "tempfile",
    "asyncio",
    "concurrent",
    "csv",
    "socket",
    "ssl",
    "aiohttp",
    "paho",
    "edge_runtime.pipeline.prefetch",
    "edge_runtime.cli.config_file",
    "edge_runtime.tracking.background_detection",
    "edge_runtime.graph.onnx",
    "edge_runtime.graph.protobuf",
    "edge_runtime.sources.live",
    "edge_runtime.sources.video",
    "edge_runtime.tracking.face_tracker",
    "edge_runtime.tracking.tracker",
    "edge_runtime.outputs.mqtt",
    "edge_runtime.outputs.rendering",
    "edge_runtime.outputs.record",
    "edge_runtime.outputs.video",
    "edge_runtime.outputs.window",
    "edge_runtime.graph.tflite",
    "edge_runtime.web.app",
)


def test_first_label_waits_for_no_import_that_it_does_not_need(
    tmp_path, tiny_model_path
):
    picture = tmp_path / "face.png"
    cv2.imwrite(str(picture), np.zeros((48, 48), np.uint8))
    asked = ["run", str(tiny_model_path), "--source", str(picture), "--faces", "none"]
    code = (
        "import sys\nbefore = set(sys.modules)\n"
        "from edge_runtime.__main__ import main\n"
        f"assert main({[*asked, '--json']!r}) == 0\n"
        f"print([n for n in {LATE!r} if n in sys.modules and n not in before])"
    )
    done = run_python(code)
    label, late = done.stdout.splitlines()
    assert json.loads(label)["faces"]
    assert late == "[]"


def test_reading_images_needs_no_training_library():
    """``train.data.dataset`` also serves the benchmarks on the board."""
    forbidden = [name for name in FORBIDDEN if name != "train"]
    code = f"import sys\nfor name in {forbidden!r}:\n    sys.modules[name] = None\n"
    done = run_python(code + "import train.data.dataset, train.metrics\nprint('done')")
    assert done.stdout == "done\n", done.stderr


@pytest.mark.parametrize("name", ["tensorflow", "keras", "tf2onnx"])
def test_device_environment_has_no_training_library(name):
    if ".venv-device" not in Path(sys.prefix).parts:
        pytest.skip("this is not a device environment: training libraries may be here")
    assert importlib.util.find_spec(name) is None


def test_every_public_name_is_importable_and_loads_no_detector_before_it_is_asked_for():
    done = run_python(
        "import sys, edge_runtime\n"
        "early = [m for m in sys.modules if m.startswith('edge_runtime.pipeline')]\n"
        "for name in edge_runtime.__all__:\n    getattr(edge_runtime, name)\n"
        "print(early, 'edge_runtime.pipeline.pipeline' in sys.modules)"
    )
    assert done.stdout == "[] True\n", done.stderr


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Pipelines'"):
        _ = edge_runtime.Pipelines
