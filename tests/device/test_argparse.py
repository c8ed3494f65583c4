"""Below ``edge_runtime.cli`` nothing knows the command line."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "edge_runtime"
ALLOWED = {"__main__.py", "utils/argparser.py"}


def imports_argparse(source):
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module]
        if "argparse" in names:
            return True
    return False


def test_an_import_is_seen_wherever_it_is():
    """Otherwise the test below could not fail."""
    assert imports_argparse("def f():\n    import argparse")
    assert imports_argparse("from argparse import Namespace")
    assert not imports_argparse("from edge_runtime.utils import argparser")


def test_only_the_command_line_imports_argparse():
    found = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if imports_argparse(path.read_text())
    }
    assert {name for name in found if not name.startswith("cli/")} == ALLOWED
