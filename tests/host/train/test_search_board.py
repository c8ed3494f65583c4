"""Latency of a board, by models that were timed on it and here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.errors import ConfigError
from edge_runtime.model_file.released import find_released
from tests.conftest import ROOT
from train.search.__main__ import main
from train.search.board import compare, describe, read_board

TINY = ROOT / "tests" / "data" / "tiny.int8.tflite"


def record(folder: Path, times_ms: dict[Path, float], threads: int = 1) -> str:
    """Returns the path of what benchmarks latency writes on a board."""
    from edge_runtime.model_file.container import read_model_file

    models = [
        {"name": path.name, "sha256": read_model_file(path).sha256} for path in times_ms
    ]
    results = [
        {"threads": threads, "logits_ms": {"p50": time}} for time in times_ms.values()
    ]
    document = {
        "schema": "fer-edge/latency/1",
        "machine": {"model": "Raspberry Pi 4"},
        "models": models,
        "results": results,
    }
    path = folder / "pi4.json"
    path.write_text(json.dumps(document))
    return str(path)


def test_ratio_is_the_mean_over_models_that_are_here(tmp_path: Path) -> None:
    released = find_released("fer2013").path
    file = tmp_path / TINY.name
    shutil.copy(TINY, file)
    board = read_board(record(tmp_path, {released: 18.0, TINY: 4.0}))
    assert board.name == "Raspberry Pi 4"
    assert board.times_ms == {released: 18.0, file: 4.0}
    here_ms = {released: 2.0, file: 1.0}
    ratio = compare(board, here_ms.__getitem__)
    assert ratio.mean == pytest.approx(6.0)
    assert (ratio.least, ratio.largest, ratio.models) == (4.0, 9.0, 2)
    assert "6.00 times as long as this machine (4.00 to 9.00), by 2 models" in describe(
        board, ratio
    )


def test_another_file_of_the_same_name_does_not_count(tmp_path: Path) -> None:
    (tmp_path / TINY.name).write_bytes(b"another one")
    with pytest.raises(ConfigError, match="none of its models on one thread is here"):
        read_board(record(tmp_path, {TINY: 4.0}))


def test_two_threads_say_nothing_of_one(tmp_path: Path) -> None:
    released = find_released("fer2013").path
    with pytest.raises(ConfigError, match=r"ferplus --threads 1 --json pi4\.json"):
        read_board(record(tmp_path, {released: 4.0}, threads=2))


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", "[" * 10_000, '{"schema": "fer-edge/accuracy/1"}'),
        '{"schema": "fer-edge/latency/1", "models": 3, "results": [], "machine": {}}',
        '{"schema": "fer-edge/latency/1", "machine": {"model": "a"}, "models":'
        ' [{"name": "a", "sha256": "b"}], "results": [{"threads": 1, "logits_ms":'
        ' {"p50": 0}}]}',
    ],
)
def test_what_is_no_record_is_one_line(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "board.json"
    path.write_text(text)
    assert search("--max-latency", "5ms", "--on", str(path)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --on {path}: expected what python -m benchmarks")


def test_board_without_a_latency_to_limit_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = record(tmp_path, {find_released("fer2013").path: 4.0})
    assert search("--max-macs", "5M", "--on", path) == 2
    assert "it needs --max-latency" in capsys.readouterr().err


def test_latency_is_that_of_the_board(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    path = record(tmp_path, {find_released("fer2013").path: 1e9})
    words = ["--arch", "fer_small", "--size", "16", "--width", "0.25"]
    assert search("--max-latency", "5ms", "--on", path, *words) == 2
    said = capsys.readouterr()
    assert "Raspberry Pi 4 takes " in said.out
    assert "no network of the search is below --max-latency 5 ms" in said.err


def search(*words: Any) -> int:
    """Returns the exit code of a search over drawn faces."""
    return main(["--data", "drawn", "--trials", "1", *words])
