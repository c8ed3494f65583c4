"""Faults that must not go unnoticed, planted one at a time."""

import dataclasses
import shutil

import pytest

from edge_runtime.graph.tflite import read_tflite
from edge_runtime.model_file.container import attach, read_model_file
from tests.arm64.cores import A72
from tests.arm64.parity import differences, replay_here, replay_on
from tests.arm64.plan import TINY
from tests.arm64.wheels import LITERT
from tests.arm64.work import python_here

PLACE = (LITERT, A72)


@pytest.fixture
def model_without_golden_vectors(tmp_path):
    """The tiny model, so that a fault gets past the check when it is loaded."""
    return rewritten(tmp_path / "plain.tflite", lambda model: model, golden=None)


def rewritten(path, change, **said):
    """The tiny model with its bytes changed and its metadata made to match."""
    file = read_model_file(TINY)
    path.write_bytes(attach(change(file.model), {**file.document, **said}, "tflite"))
    return path


def with_one_weight_changed(model):
    from ai_edge_litert.interpreter import Interpreter

    weights = (one for one in read_tflite(model).tensors if one.constant)
    name = max(
        (one for one in weights if one.dtype == "int8"), key=lambda w: w.bytes
    ).name
    interpreter = Interpreter(model_content=model)
    (index,) = (
        details["index"]
        for details in interpreter.get_tensor_details()
        if details["name"] == name
    )
    stored = interpreter.get_tensor(index).tobytes()
    at = model.index(stored) + len(stored) // 2
    return model[:at] + bytes([model[at] ^ 0x40]) + model[at + 1 :]


def with_other_code(work, tmp_path, module, old, new):
    """A copy of the installed package with one piece of code replaced."""
    package = work.board(PLACE).path[0]
    copy = tmp_path / "planted"
    shutil.copytree(package, copy)
    path = copy / "edge_runtime" / module
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return copy


def on_board(work, model, tmp_path, package=None):
    board = work.board(PLACE)
    if package is not None:
        board = dataclasses.replace(board, path=(package, *board.path[1:]))
    return replay_on(board, work.cases, model, tmp_path / "board.npz")


def on_this_machine(work, model, tmp_path, package=None):
    package = package or work.board(PLACE).path[0]
    python = python_here(LITERT)
    out = tmp_path / "here.npz"
    return replay_here(python, [package], LITERT.backend, work.cases, model, out)


def test_nothing_is_found_where_nothing_was_planted(
    work, model_without_golden_vectors, tmp_path
):
    here = on_this_machine(work, model_without_golden_vectors, tmp_path)
    board = on_board(work, model_without_golden_vectors, tmp_path)
    assert differences(here, board) == []


def test_one_changed_weight_is_found_by_the_logits(
    work, model_without_golden_vectors, tmp_path
):
    altered = rewritten(
        tmp_path / "altered.tflite", with_one_weight_changed, golden=None
    )
    here = on_this_machine(work, model_without_golden_vectors, tmp_path)
    found = differences(here, on_board(work, altered, tmp_path))
    assert [line.split(":")[0] for line in found] == ["logits"]


def test_one_changed_weight_is_refused_by_the_golden_vectors(work, tmp_path):
    altered = rewritten(tmp_path / "altered.tflite", with_one_weight_changed)
    with pytest.raises(RuntimeError, match="gives other logits than when it was"):
        on_board(work, altered, tmp_path)


def test_linear_interpolation_is_found_by_the_pixels(
    work, model_without_golden_vectors, tmp_path
):
    # On both sides: OpenCV itself gives other pixels on arm64.
    package = with_other_code(
        work, tmp_path, "preprocessing.py", "cv2.INTER_LINEAR_EXACT", "cv2.INTER_LINEAR"
    )
    here = on_this_machine(work, model_without_golden_vectors, tmp_path, package)
    board = on_board(work, model_without_golden_vectors, tmp_path, package)
    assert [line.split(":")[0] for line in differences(here, board)] == [
        "preprocessing"
    ]


def test_wrong_input_scale_is_found_by_the_logits(
    work, model_without_golden_vectors, tmp_path
):
    package = with_other_code(
        work,
        tmp_path,
        "inference/tensors.py",
        "values / quantization.scale",
        "values / 1.02",
    )
    here = on_this_machine(work, model_without_golden_vectors, tmp_path)
    board = on_board(work, model_without_golden_vectors, tmp_path, package)
    assert [line.split(":")[0] for line in differences(here, board)] == ["logits"]


def test_wrong_output_scale_is_refused_by_the_golden_vectors(work, tmp_path):
    package = with_other_code(
        work,
        tmp_path,
        "inference/tensors.py",
        "quantization.scale * wide",
        "1.02 * quantization.scale * wide",
    )
    with pytest.raises(RuntimeError, match="gives other logits than when it was"):
        on_board(work, TINY, tmp_path, package)
