"""What a user can give wrongly: one line, exit code 2, and no run folder."""

import dataclasses
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import FerEdgeError
from edge_runtime.utils.suggestions import _OTHER_NAMES
from tests.console import one_error_line
from train.__main__ import build_config, main
from train.options.arguments import build_parser
from train.options.recipes import RECIPES

ROOT = Path(__file__).resolve().parents[3]


def picture(path, value=9):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((16, 16), value, np.uint8))


def missing(folder):
    return folder / "nothing"


def text_named_zip(folder):
    path = folder / "set.zip"
    path.write_text("404: not found")
    return path


def truncated_zip(folder):
    import zipfile

    path = folder / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for label in ("cat", "dog"):
            archive.writestr(f"{label}/1.png", bytes(2000))
    path.write_bytes(path.read_bytes()[:-40])
    return path


def csv_with_wrong_columns(folder):
    path = folder / "set.csv"
    path.write_text("colour,picture\n0,1 2 3\n")
    return path


def one_class(folder):
    for number in range(5):
        picture(folder / "set" / "cat" / f"{number}.png", number)
    return folder / "set"


def only_broken_images(folder):
    for label in ("cat", "dog"):
        (folder / "set" / label).mkdir(parents=True)
        (folder / "set" / label / "1.png").write_bytes(b"no image")
    return folder / "set"


def no_images(folder):
    (folder / "set" / "cat").mkdir(parents=True)
    return folder / "set"


def another_kind(folder):
    path = folder / "set.rar"
    path.write_bytes(b"Rar!")
    return path


BAD = {
    "missing": (missing, "no such path"),
    "text-named-zip": (text_named_zip, "readable zip"),
    "truncated-zip": (truncated_zip, "fetch it again"),
    "wrong-columns": (csv_with_wrong_columns, "emotion,pixels,Usage"),
    "one-class": (one_class, "at least two classes"),
    "broken-images": (only_broken_images, "none of"),
    "no-images": (no_images, "got none"),
    "another-kind": (another_kind, ".zip or .csv"),
}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """The folder that a command runs in."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("name", BAD)
def test_bad_images_are_one_line_and_leave_no_run(workplace, tmp_path, capsys, name):
    make, part = BAD[name]
    assert main(["--data", str(make(tmp_path))]) == 2
    assert part in one_error_line(capsys)
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize("name", ["missing", "text-named-zip", "one-class"])
def test_bad_images_print_no_traceback(tmp_path, name):
    """In a process of its own, as a user runs it."""
    make, part = BAD[name]
    done = subprocess.run(
        [sys.executable, "-m", "train", "--data", str(make(tmp_path))],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert part in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--resume"], "no run in runs/ yet"),
        (["--resume", "nothing"], "no config.json there"),
        (["--validation-frac", "0.9"], "--validation-frac"),
        (["--teacher", "nobody"], "no config.json there"),
        (["--teacher", "gone.keras"], "expected a run or a .keras file"),
        (["--soft-labels", "gone.csv"], "gone.csv"),
        (["--drop-category", "NF"], "--soft-labels"),
        (["--labels-from", "gone.csv"], "gone.csv"),
        (["--label-rule", "probability"], "--labels-from"),
        (["--teacher-share", "1"], "--teacher-share"),
    ],
    ids=[
        "no-run",
        "no-such-run",
        "share",
        "no-teacher-run",
        "no-teacher-file",
        "no-votes",
        "category-without-votes",
        "no-labels",
        "rule-without-votes",
        "teacher-share",
    ],
)
def test_impossible_request_is_one_line(workplace, tmp_path, capsys, arguments, part):
    for label in ("cat", "dog"):
        picture(tmp_path / "set" / label / "1.png")
    if "--resume" not in arguments:
        arguments = ["--data", str(tmp_path / "set"), *arguments]
    assert main(arguments) == 2
    assert part in one_error_line(capsys)
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--epochs", "0"),
        ("--batch-size", "-1"),
        ("--precision", "int8"),
        ("--patience", "0"),
        ("--max-time", "10"),
        ("--max-time", "soon"),
        ("--max-time", "-1m"),
        ("--max-time", "nanh"),
        ("--arch", "x"),
    ],
)
def test_value_out_of_range_is_named(capsys, flag, value):
    with pytest.raises(SystemExit) as stopped:
        main([flag, value])
    assert stopped.value.code == 2
    assert flag in capsys.readouterr().err


def config_from(*arguments):
    return build_config(vars(build_parser().parse_args(arguments)))


def test_flags_change_single_values_of_the_recipe():
    config = config_from("--recipe", "quick", "--epochs", "3", "--teacher", "a")
    expected = RECIPES["quick"].config
    assert config == dataclasses.replace(expected, epochs=3, teachers=("a",))


def test_several_teachers_are_taken():
    assert config_from("--teacher", "a", "--teacher", "b").teachers == ("a", "b")


def test_mirroring_alone_is_switched_off():
    recipe = RECIPES["quick"].config
    unmirrored = dataclasses.replace(recipe.augmentation, flip=False)
    assert config_from("--recipe", "quick", "--no-flip").augmentation == unmirrored
    assert config_from("--recipe", "quick").augmentation == recipe.augmentation


def help_text(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_the_scale_is_of_the_network_and_in_its_name():
    config = build_config({"arch": "fer_small", "width": 0.5, "depth": 2})
    assert config.network == "fer_small, width 0.5, depth 2"
    assert build_config({"arch": "fer_small"}).network == "fer_small"


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"arch": "notebook_cnn", "width": 0.5}, "got 'notebook_cnn'"),
        ({"arch": "efficientnet_lite0", "depth": 2}, "--width and --depth with --arch"),
        ({"width": 0.05}, "expected --width in 0.1..4, got 0.05"),
        ({"depth": 9}, "expected --depth in 1..8, got 9"),
    ],
)
def test_a_scale_that_is_none_is_named(options, part):
    with pytest.raises(FerEdgeError, match=part):
        build_config(options)


def test_augmentation_is_that_of_the_recipe_scaled():
    options = {"recipe": "quick", "augmentation_strength": 0.5, "flip": False}
    augmentation = build_config(options).augmentation
    assert (augmentation.rotation_deg, augmentation.flip) == (5.0, False)


def test_help_shows_examples(capsys):
    assert "python -m train --resume" in help_text(capsys)


def test_help_says_what_each_recipe_is_for(capsys):
    words = help_text(capsys).partition("recipes (")[2].split()
    for name, recipe in RECIPES.items():
        begin = [name, *recipe.purpose.split()]
        assert begin in [words[i : i + len(begin)] for i in range(len(words))]


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is installed here")
def test_backend_that_was_asked_for_and_is_not_there_is_named():
    done = subprocess.run(
        [sys.executable, "-m", "train", "--epochs", "1"],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: KERAS_BACKEND is torch")


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("libcudart.so.12: cannot open shared object file", "libcudart.so.12: cannot"),
        ("libcc.so.2: failed to map segment from shared object", "too little memory"),
    ],
)
def test_library_that_cannot_be_loaded_is_not_called_missing(tmp_path, reason, said):
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "__init__.py").write_text(f"raise ImportError({reason!r})\n")
    done = subprocess.run(
        [sys.executable, "-m", "train", "--epochs", "1", "--name", str(tmp_path / "a")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: keras, or its backend")
    assert "cannot be loaded" in line and said in line and reason in line


def test_library_of_the_plots_is_missed_before_the_training(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.chdir(tmp_path)
    assert main(["--name", "run"]) == 2
    assert "matplotlib is not installed" in one_error_line(capsys)
    assert not (tmp_path / "runs").exists()


def test_every_suggested_flag_exists_somewhere():
    """A flag that was renamed would be suggested to nobody."""
    others = ["int8", "calibration-data", "out", "labels", "pixels", "source", "serve"]
    others += ["uncertain-below", "display", "output", "resume", "backend", "runs"]
    others += ["mqtt", "roi", "hflip", "run"]
    flags = [flag for each in build_parser()._actions for flag in each.option_strings]
    names = {*others, *(flag.lstrip("-") for flag in flags)}
    meant = {each for words in _OTHER_NAMES.values() for each in words.split()}
    assert meant <= names
