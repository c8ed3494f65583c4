"""A file that stands for flags: the same values, the same checks, and nothing else."""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.__main__ import build_parser, main
from edge_runtime.cli.config_file import _toml, flag_values, read_config
from edge_runtime.errors import ConfigError
from edge_runtime.model_file.container import read_model_file


@pytest.fixture
def run_parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = build_parser().parse_args(["run"]).command_parser
    return parser


@pytest.fixture
def config(tmp_path: Path):
    """Returns a function that writes a file."""

    def write(text: str) -> Path:
        path = tmp_path / "fer.toml"
        path.write_text(text)
        return path

    return write


def applied(parser: argparse.ArgumentParser, path: Path, *typed: str):
    parser.set_defaults(**flag_values(parser, path))
    return parser.parse_args(typed)


def test_keys_are_the_names_of_the_flags(run_parser, config):
    args = applied(
        run_parser,
        config(
            'model = "fer.tflite"\nsource = "clip.mp4"\nthreads = 2\njson = true\n'
            'max-frames = 5\nlabels = ["cat", "dog"]\nwatch-agreement = 0.75\n'
        ),
    )
    assert args.model == Path("fer.tflite")
    assert args.source == "clip.mp4"
    assert (args.threads, args.max_frames, args.json) == (2, 5, True)
    assert args.labels == ("cat", "dog")
    assert args.watch_agreement == 0.75


def test_command_line_counts_more_than_the_file(run_parser, config):
    args = applied(run_parser, config("threads = 2"), "--threads", "3")
    assert args.threads == 3


def test_positional_model_counts_more_than_the_file(run_parser, config):
    args = applied(run_parser, config('model = "a.tflite"'), "b.tflite")
    assert args.model == Path("b.tflite")


def test_tables_only_group(run_parser, config):
    args = applied(run_parser, config("[camera]\nsource = 0\n[a.b]\nthreads = 4\n"))
    assert (args.source, args.threads) == ("0", 4)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("thread = 2", "thread is not a flag of this command: did you mean threads?"),
        ("max_frames = 2", "did you mean max-frames?"),
        ("paint = 'blue'", "paint is not a flag"),
        ("help = true", "help is not a flag"),
        ("config = 'other.toml'", "config is not a flag"),
        ("threads = '2'", "threads: expected a number without quotes, got '2'"),
        ("threads = 0", "threads: expected a whole number from 1 to 256, got '0'"),
        ("threads = 1.5", "threads: expected a whole number"),
        ("threads = true", "threads: expected text or a number, got true"),
        ("threads = [1, 2]", "threads: expected one value, got [1, 2]"),
        ("csv = ['a.csv']", "csv: expected one value, got ['a.csv']"),
        ("labels = [1, 2]", "labels: expected a list of text"),
        ("labels = []", "labels: expected at least one, got an empty list"),
        ("model = ''", "model: expected a path, got ''"),
        ("json = 1", "json: expected true or false, got 1"),
        ("json = 'yes'", "json: expected true or false"),
        ("output = 5", "output: expected a path in quotes, got 5"),
        ("source = 1.5", "source: expected text in quotes"),
        ("source = 2026-01-01", "got the date or time 2026-01-01"),
        ("backend = 'tensorrt'", "backend: expected one of auto, ai-edge-litert"),
        ("[a]\nthreads = 1\n[b]\nthreads = 2", "threads occurs twice"),
        ("mirror = true\nhflip = false", "hflip occurs twice, under two names"),
        ("threads = ", "is not a TOML file"),
        ("threads = 1\nthreads = 2", "is not a TOML file"),
    ],
)
def test_wrong_file_is_one_line_that_says_what_is_wrong(config, capsys, text, reason):
    path = config(text)
    assert main(["run", "--config", str(path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert reason in err
    assert "fer.toml" in err


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"a" * (2 << 20)], ids=["no UTF-8", "huge"]
)
def test_file_that_is_no_text_is_an_error(tmp_path, content):
    path = tmp_path / "fer.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        read_config(path)


def test_file_of_an_editor_of_windows_is_read(tmp_path):
    path = tmp_path / "fer.toml"
    path.write_bytes(b"\xef\xbb\xbfthreads = 2\r\n")
    assert read_config(path) == {"threads": 2}


@pytest.mark.parametrize(
    ("source", "mode", "told"),
    [
        ("rtsp://me:hunter2@host/x", 0o644, True),
        ("rtsp://me:hunter2@host/x", 0o640, False),
        ("rtsp://host/x", 0o644, False),
        ("0", 0o644, False),
    ],
)
def test_password_that_every_user_may_read_is_told(
    run_parser, config, caplog, source, mode, told
):
    path = config(f'source = "{source}"\n')
    path.chmod(mode)
    flag_values(run_parser, path)
    assert ("can be read by every user" in caplog.text) is told
    assert "hunter2" not in caplog.text


def test_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_config(tmp_path / "fer.toml")


def test_deep_nesting_is_an_error(config):
    with pytest.raises(ConfigError):
        read_config(config("a = " + "[" * 100_000))


def test_run_takes_its_source_from_the_file(
    tiny_model_path, tmp_path, config, capsys, data_folder
):
    import cv2
    import numpy as np

    cv2.imwrite(str(tmp_path / "face.png"), np.full((60, 80, 3), 120, np.uint8))
    path = config(
        f'model = "{tiny_model_path}"\nsource = "{tmp_path / "face.png"}"\n'
        'faces = "none"\njson = true\n'
    )
    assert main(["run", "--config", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["frame"] == 0


# --- --print-config -----------------------------------------------------------------


def printed(capsys, *typed: str) -> str:
    assert main(["run", *typed, "--print-config"]) == 0
    out: str = capsys.readouterr().out
    return out


def test_printed_file_makes_the_same_arguments(run_parser, config, capsys):
    typed = ["m.tflite", "--source", "1", "--threads", "2", "--labels", "a,b", "--json"]
    path = config(printed(capsys, *typed))
    expected = run_parser.parse_args(typed)
    assert applied(run_parser, path) == expected


def test_printed_defaults_make_the_defaults(run_parser, config, capsys):
    expected = run_parser.parse_args([])
    assert applied(run_parser, config(printed(capsys))) == expected


def test_printed_file_has_the_values_of_a_file_and_of_the_command_line(config, capsys):
    path = config("threads = 2\nsource = '/dev/video3'")
    out = tomllib.loads(printed(capsys, "--config", str(path), "--threads", "4"))
    assert (out["threads"], out["source"]) == (4, "/dev/video3")


def test_unset_flags_are_comments_with_their_help(capsys):
    out = printed(capsys)
    assert "# max-frames =  # " in out
    assert "config" not in tomllib.loads(out)


@given(st.text() | st.integers(-(2**63), 2**63 - 1) | st.booleans())
def test_any_value_survives_being_written(value):
    if isinstance(value, str) and any(
        "\ud800" <= letter <= "\udfff" for letter in value
    ):
        return  # no text in any file
    assert tomllib.loads(f"key = {_toml(value)}") == {"key": value}


def test_next_commands_repeat_what_the_file_says_of_a_model(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, picture = tmp_path / "bare.tflite", tmp_path / "a.png"
    model.write_bytes(read_model_file(tiny_model_path).model)
    cv2.imwrite(str(picture), np.zeros((48, 48, 3), np.uint8))
    config = tmp_path / "c.toml"
    config.write_text(
        f'model = "{model}"\nsource = "{picture}"\nfaces = "none"\n'
        'labels = ["a", "b", "c", "d", "e", "f", "g"]\npixels = "raw"\n'
    )
    assert main(["run", "--config", str(config), "--pixels", "unit"]) == 0
    shown = capsys.readouterr().out
    said = "--labels a,b,c,d,e,f,g --pixels unit"
    assert f" run {model} {said} --source {picture} --faces none " in shown
    assert f" check {model} {said}\n" in shown
