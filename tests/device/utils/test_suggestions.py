"""The flag that is suggested is the one that was meant."""

import pytest

from edge_runtime.__main__ import main
from edge_runtime.utils.argparser import CommandLine
from edge_runtime.utils.suggestions import nearest

TRAIN = "--data --name --epochs --batch-size --learning-rate --class-weights --from"
TRAIN += " --size --colour --threads --validation --validation-frac --force --precision"
EXPORT = "--int8 --calibration-data --audit --out --labels --pixels --formats"
RUN = "--source --size --frozen-after --threads --uncertain-below --detect-every --fps"


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("--lr", TRAIN, "--learning-rate"),
        ("--lr=0.1", TRAIN, "--learning-rate"),
        ("--learning_rate", TRAIN, "--learning-rate"),
        ("--Batch-Size", TRAIN, "--batch-size"),
        ("--batch", TRAIN, "--batch-size"),
        ("--bs", TRAIN, "--batch-size"),
        ("--epoch", TRAIN, "--epochs"),
        ("--epcohs", TRAIN, "--epochs"),
        ("--weights", TRAIN, "--from"),
        ("--imgsz", TRAIN, "--size"),
        ("--workers", TRAIN, "--threads"),
        ("--validation-split", TRAIN, "--validation-frac"),
        ("--learning", TRAIN, "--learning-rate"),
        ("--data", EXPORT, "--calibration-data"),
        ("--quantize", EXPORT, "--int8"),
        ("--output", EXPORT, "--out"),
        ("--webcam", RUN, "--source"),
        ("--device", RUN, "--source"),
        ("--detect-evry", RUN, "--detect-every"),
        ("--threshold", RUN, "--uncertain-below"),
        ("--width", RUN, "--size"),
        ("--broker", "--mqtt --output", "--mqtt"),
        ("--zone", "--roi --rotate", "--roi"),
        ("predict", "run check", "run"),
    ],
)
def test_flag_that_was_meant_is_suggested(word, known, meant):
    assert nearest(word, known.split()) == f": did you mean {meant}?"


@pytest.mark.parametrize(
    ("word", "known"),
    [
        ("--rotate", RUN),
        ("--width", "--audit --out"),
        ("--data", "--audit --out"),
        ("--device", TRAIN),
        ("--patience", TRAIN),
        ("--dropout", TRAIN),
        ("--x", RUN),
        ("--", RUN),
    ],
)
def test_flag_of_another_meaning_is_not_suggested(word, known):
    assert nearest(word, known.split()) == ""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--gpu", "0"], "unknown '--gpu': it takes one by itself"),
        (["-gpu=0"], "unknown '-gpu=0' (see"),
        (["-speed=0"], "unknown '-speed=0': did you mean --speed?"),
        (["--sped", "3"], "unknown '--sped': did you mean --speed?"),
    ],
)
def test_missing_flag_is_explained_on_one_line(arguments, text, capsys):
    parser = CommandLine(prog="x")
    parser.add_argument("--speed")
    parser.missing_flags = {"--gpu": "it takes one by itself"}
    with pytest.raises(SystemExit):
        parser.parse_args(arguments)
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("flag", "text"),
    [("--model", "named without a flag"), ("--verbose", "FER_EDGE_VERBOSE=1")],
)
def test_flag_that_run_does_not_have_is_explained(flag, text, capsys):
    with pytest.raises(SystemExit):
        main(["run", flag, "x"])
    assert text in capsys.readouterr().err


def test_path_without_a_flag_is_taken_for_the_data(tmp_path, capsys):
    parser = CommandLine(prog="learn")
    parser.add_argument("--data")
    for path, hint in ((tmp_path, f": did you mean --data {tmp_path}?"), ("none", "")):
        with pytest.raises(SystemExit):
            parser.parse_args([str(path)])
        error = f"error: unknown {str(path)!r}{hint} (see learn --help)\n"
        assert capsys.readouterr().err == error
