"""What is installed on a device: the runtime alone."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("pyproject.toml", "README.md", "LICENSE", "edge_runtime")
OTHERS = ("train", "export", "benchmarks", "tests")


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """Names in a wheel built from a copy, so that the checkout stays clean."""
    source = tmp_path_factory.mktemp("source")
    for name in (*NEEDED, *OTHERS):
        path = ROOT / name
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".*")
            shutil.copytree(path, source / name, ignore=ignored)
        elif path.exists():
            shutil.copy(path, source)
    out = source / "dist"
    command = ["-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(out), "."]
    done = subprocess.run(
        [sys.executable, *command], cwd=source, capture_output=True, text=True
    )
    if "No matching distribution" in done.stderr or "Connection" in done.stderr:
        pytest.skip("the build needs setuptools from a package index, none is here")
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_wheel_contains_the_runtime_and_no_other_package(members):
    tops = {name.split("/")[0] for name in members}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"edge_runtime"}


def test_wheel_says_that_it_is_typed(members):
    assert "edge_runtime/py.typed" in members


def test_wheel_contains_every_module_of_the_runtime(members):
    modules = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "edge_runtime").rglob("*.py")
    }
    assert modules <= set(members)


def test_wheel_has_the_command(members):
    (entries,) = [name for name in members if name.endswith("entry_points.txt")]
    assert entries.startswith("fer_edge-")


def test_wheel_contains_the_released_models(members):
    models = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "edge_runtime" / "models").glob("*.tflite")
    }
    if not models:
        pytest.skip("this version has no released model yet")
    assert models <= set(members)


def test_wheel_has_the_files_of_the_web_page(members):
    folder = ROOT / "edge_runtime" / "web" / "static"
    files = {path.relative_to(ROOT).as_posix() for path in folder.iterdir()}
    assert "edge_runtime/web/static/index.html" in files
    assert files <= set(members)
