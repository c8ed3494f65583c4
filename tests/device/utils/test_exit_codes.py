"""What ends a command is one line: memory, consoles and closed pipes, too."""

import os
import subprocess
import sys

import numpy as np
import pytest

from edge_runtime.errors import DatasetError
from edge_runtime.utils.argparser import exit_code_of
from tests.conftest import ROOT

COMMAND = (
    "import sys; from edge_runtime.utils.argparser import CommandLine, exit_code_of\n"
    "from edge_runtime.errors import DatasetError\n"
)


def run(code, **options):
    return subprocess.run(
        [sys.executable, "-c", COMMAND + code], cwd=ROOT, text=True, **options
    )


class ResourceExhaustedError(Exception):
    """As TensorFlow's."""


class XlaRuntimeError(RuntimeError):
    """As JAX's."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("a picture of 9000 x 9000"),
        ResourceExhaustedError("OOM when allocating\na tensor"),
        XlaRuntimeError("RESOURCE_EXHAUSTED: out of memory"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_lack_of_memory_is_one_line(error, capsys):
    def fail():
        raise error

    assert exit_code_of(fail) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: not enough memory")
    assert line.count("\n") == 1


def test_lack_of_memory_in_numpy_is_one_line(capsys):
    def fail():
        return len(np.empty(2**60, np.uint8))

    assert exit_code_of(fail) == 2
    assert "Unable to allocate" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="others keep such a folder")
def test_current_folder_that_was_deleted_is_one_line(tmp_path):
    code = (
        "import os, sys; from pathlib import Path\n"
        "from edge_runtime.utils.argparser import exit_code_of\n"
        "os.rmdir(os.getcwd())\n"
        "sys.exit(exit_code_of(lambda: len(str(Path('x').absolute()))))\n"
    )
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=gone,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: the current folder was deleted")
    assert done.stderr.count("\n") == 1


def test_a_bug_keeps_its_traceback():
    def fail():
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        exit_code_of(fail)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_console_without_a_letter_shows_its_code(encoding):
    code = "raise SystemExit(exit_code_of(lambda: print('\\u732b') or 0))"
    done = run(
        code,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ("\u732b" if encoding == "utf-8" else "\\u732b")


def closed_pipe():
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


OUTPUT = "raise SystemExit(exit_code_of(lambda: print('a line') or 0))"
ERROR = """
def fail():
    raise DatasetError("wrong")
raise SystemExit(exit_code_of(fail))
"""
HELP = "CommandLine(prog='x').parse_args(['--help'])"
WRONG = "CommandLine(prog='x').parse_args(['--wrong'])"


@pytest.mark.parametrize(
    ("code", "expected"),
    [(OUTPUT, 0), (ERROR, 2), (HELP, 0), (WRONG, 2)],
    ids=["output", "error", "help", "wrong-flag"],
)
@pytest.mark.parametrize("both", [True, False], ids=["both", "one"])
def test_closed_pipe_is_no_traceback(tmp_path, code, expected, both):
    pipe, log = closed_pipe(), (tmp_path / "log").open("wb")
    on_stdout = code in (OUTPUT, HELP)
    out = pipe if both or on_stdout else log
    err = pipe if both or not on_stdout else log
    try:
        done = run(code, stdout=out, stderr=err)
    finally:
        os.close(pipe)
        log.close()
    assert done.returncode == expected
    assert (tmp_path / "log").read_text() == ""


def test_what_follows_a_closed_pipe_is_still_told(tmp_path):
    code = (
        "code = exit_code_of(lambda: print('a line') or 0)\n"
        "print('still told', file=sys.stderr)\nraise SystemExit(code)"
    )
    pipe = closed_pipe()
    try:
        done = run(code, stdout=pipe, stderr=subprocess.PIPE)
    finally:
        os.close(pipe)
    assert (done.returncode, done.stderr) == (0, "still told\n")


@pytest.mark.parametrize("code", [OUTPUT, ERROR], ids=["output", "error"])
def test_stream_that_is_closed_at_the_start_is_no_traceback(code):
    script = f'exec "{sys.executable}" -c "$0" >&- 2>&-'
    done = subprocess.run(["sh", "-c", script, COMMAND + code], cwd=ROOT)
    assert done.returncode == (0 if code == OUTPUT else DatasetError.exit_code)
