"""The tree stays one in which a stranger finds their way; ``make check`` runs this."""

import ast
from collections import Counter

import pytest

from tests.conftest import ROOT

PACKAGES = ("edge_runtime", "benchmarks", "train", "export")
MODULES_AT_ROOT = {"edge_runtime": 8, "benchmarks": 3, "train": 8, "export": 8}


@pytest.fixture(autouse=True)
def checkout():
    if not all((ROOT / package).is_dir() for package in PACKAGES):
        pytest.skip("not on this machine: the whole checkout")


@pytest.mark.parametrize("package", PACKAGES)
def test_few_modules_lie_at_the_root_of_a_package(package):
    modules = sorted(path.name for path in (ROOT / package).glob("*.py"))
    assert len(modules) <= MODULES_AT_ROOT[package], modules


def test_no_two_public_classes_have_one_name():
    names = Counter(
        node.name
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []
