"""What is to be typed next can be typed as it is."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.cli.given import GIVEN_NAMES
from edge_runtime.utils.argparser import as_typed, invocation


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    invocation.cache_clear()
    yield
    invocation.cache_clear()


def test_in_an_activated_environment_it_is_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin")
    assert invocation() == "python -m edge_runtime"


def test_where_python_is_another_one_or_none_it_has_its_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert invocation() == f"{sys.executable} -m edge_runtime"
    invocation.cache_clear()
    (tmp_path / "python").write_text("#!/bin/sh\n")
    (tmp_path / "python").chmod(0o755)
    assert invocation() == f"{sys.executable} -m edge_runtime"


def test_environment_in_this_folder_is_named_from_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", f"{tmp_path}/my env/bin/python")
    assert invocation() == "'my env/bin/python' -m edge_runtime"


def test_other_programs_are_called_the_same_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", f"{tmp_path}/.venv/bin/python")
    assert invocation("export") == ".venv/bin/python -m export"


@pytest.mark.parametrize(
    ("typed", "repeated"),
    [
        ("a.tflite --labels cat,dog --threads 2", " --labels cat,dog"),
        (
            "--pixels=unit a.tflite --labels 'my labels.txt'",
            " --pixels unit --labels 'my labels.txt'",
        ),
        ("a.tflite --output logits --mean", " --model-output logits"),
        ("a.tflite b.tflite --threads 2", ""),
        ("--labels=a,b --pixels unit --labels c,d", " --labels c,d --pixels unit"),
    ],
)
def test_flags_are_repeated_as_they_were_typed(typed: str, repeated: str) -> None:
    assert as_typed(shlex.split(typed), GIVEN_NAMES) == repeated
