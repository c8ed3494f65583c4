"""The command line of the benchmarks."""

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
