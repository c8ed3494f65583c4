"""The command line of the benchmarks."""

import argparse
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cli.parser import ALIASES, COMMANDS, build_parser

ROOT = Path(__file__).resolve().parents[3]
LIST_MODULES = """
import sys
from benchmarks.cli.parser import build_parser
build_parser(sys.argv[1])
print(*(name for name in sys.modules if name.startswith("benchmarks.")))
"""


@pytest.mark.parametrize("name", ["accuracy", "latency", "roofline", "pipeline"])
def test_command_imports_no_other_command(name):
    done = subprocess.run(
        [sys.executable, "-c", LIST_MODULES, name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    modules = done.stdout.split()
    assert {module for module in modules if module.startswith("benchmarks.cli.")} == {
        "benchmarks.cli.parser",
        f"benchmarks.cli.{name}",
    }
    assert "benchmarks.report" not in modules


def test_every_command_has_a_help(capsys):
    for name in (*COMMANDS, *ALIASES):
        with pytest.raises(SystemExit) as ended:
            build_parser(name).parse_args([name, "--help"])
        assert ended.value.code == 0
        assert "examples:" in capsys.readouterr().out


def test_model_is_a_file_or_the_name_of_a_released_one(capsys):
    parser = build_parser("accuracy")
    given = ["fer2013", "pets.tflite"]
    options = parser.parse_args(["accuracy", *given, "--data", "drawn"])
    assert [path.name for path in options.models] == [
        "fer2013.int8.tflite",
        "pets.tflite",
    ]
    with pytest.raises(SystemExit):
        parser.parse_args(["accuracy", "fer2014", "--data", "drawn"])
    assert "expected a released model (" in capsys.readouterr().err


@pytest.mark.parametrize(
    "program", ["edge_runtime", "train", "export", "benchmarks"], ids=str
)
def test_every_flag_says_what_it_does(program):
    if program in ("train", "export"):
        pytest.importorskip("keras", reason="no training library in this environment")
    parser = importlib.import_module(f"{program}.__main__").build_parser()
    for one in (parser, *_commands(parser)):
        silent = [
            " ".join(action.option_strings) or action.dest
            for action in one._actions
            if not re.search("[a-z]{3}", action.help or "")
            and not isinstance(action, argparse._SubParsersAction)
        ]
        assert silent == [], one.prog


def _commands(parser):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()
