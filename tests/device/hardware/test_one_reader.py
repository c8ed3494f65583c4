"""Files that describe the machine are read in ``edge_runtime/hardware`` alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("edge_runtime", "train", "export", "benchmarks")
FILES = (
    "proc/cpuinfo",
    "proc/meminfo",
    "proc/self/cgroup",
    "proc/self/statm",
    "proc/device-tree",
    "etc/os-release",
    "thermal_zone",
    "get_throttled",
    "sys/fs/cgroup",
    "cpu0/cpufreq",
)


def texts(source: str) -> list[str]:
    """Returns the strings of a module that are not docstrings."""
    tree = ast.parse(source)
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
    ]


def test_strings_are_found_and_docstrings_are_not() -> None:
    """Otherwise the test below could not fail."""
    source = '"""/proc/meminfo"""\nopen("/proc/meminfo")\nf"{root}/etc/os-release"'
    assert texts(source) == ["/proc/meminfo", "/etc/os-release"]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_module_names_these_files(package: str) -> None:
    readers = ROOT / "edge_runtime/hardware"
    found = {
        str(path.relative_to(ROOT)): text
        for path in (ROOT / package).rglob("*.py")
        if not path.is_relative_to(readers)
        for text in texts(path.read_text())
        if any(name in text for name in FILES)
    }
    assert found == {}
