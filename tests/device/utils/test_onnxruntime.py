"""ONNX Runtime is imported in one place, with its telemetry off."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.onnx_runtime import require_onnxruntime

ROOT = Path(__file__).resolve().parents[3]
ONLY = ROOT / "edge_runtime/utils/onnxruntime.py"
FOLDERS = ("edge_runtime", "train", "export", "benchmarks", "tests", "examples")


def imports_onnxruntime(source: str) -> bool:
    return any(name.split(".")[0] == "onnxruntime" for name in imported(source))


def imported(source: str) -> Iterator[str]:
    """Yields what a module imports, by statement or by name in a call."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""
        elif isinstance(node, ast.Call) and node.args:
            name = node.func
            called = name.attr if isinstance(name, ast.Attribute) else ""
            called = name.id if isinstance(name, ast.Name) else called
            if called in ("import_module", "importorskip", "__import__"):
                yield "".join(
                    part.value
                    for part in ast.walk(node.args[0])
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                )


@pytest.mark.parametrize(
    "source",
    [
        "import onnxruntime",
        "def f():\n    import numpy, onnxruntime as ort",
        "from onnxruntime.quantization import QuantType",
        "import importlib\nimportlib.import_module('onnxruntime')",
        "import importlib\nimportlib.import_module(f'onnxruntime.{name}')",
        "import pytest\npytest.importorskip('onnxruntime', reason='why')",
    ],
)
def test_every_way_to_import_is_seen(source: str) -> None:
    """Otherwise the test below could not fail."""
    assert imports_onnxruntime(source)


def test_it_is_imported_in_one_place() -> None:
    paths = [ROOT / "demo.py"]
    paths += [path for name in FOLDERS for path in (ROOT / name).rglob("*.py")]
    found = [path for path in paths if imports_onnxruntime(path.read_text())]
    assert found == [ONLY]


def test_telemetry_is_off_before_the_library_is_loaded() -> None:
    require_onnxruntime()
    code = (
        "import os, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'onnxruntime':\n"
        "            print(os.environ.get('ORT_DISABLE_TELEMETRY'))\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from edge_runtime.utils.onnxruntime import import_onnxruntime\n"
        "print(import_onnxruntime('datasets').__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.split() == ["1", "onnxruntime.datasets"], done.stderr
