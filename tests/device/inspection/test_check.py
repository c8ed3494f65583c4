"""``check``: what it says of healthy files, and that it notices the others."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.__main__ import main
from edge_runtime.cli import check as check_command
from edge_runtime.inference import backends
from edge_runtime.inspection.analyzer import analyze, read_graph
from edge_runtime.inspection.format_rules import FORMATS, check_format, format_in_name
from edge_runtime.model_file.container import attach, read_model_file
from tests.onnx_runtime import require_onnxruntime

DATA = Path(__file__).resolve().parents[2] / "data"
HEALTHY = ["int8.tflite", "float32.tflite", "int8.onnx", "float32.onnx"]

Rewrite = Callable[..., Path]


def needs_libraries(name: str) -> None:
    if name.endswith(".onnx"):
        require_onnxruntime()
        pytest.importorskip("onnx", reason="reads the graphs of .onnx files")


def document_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def rules(document: dict[str, Any]) -> set[str]:
    return {one["rule"] for one in document["verdict"]["violations"]}


@pytest.fixture
def rewrite(tmp_path: Path) -> Rewrite:
    """Writes a tiny model with other metadata, or with none, under another name."""

    def write(source: str, name: str | None = None, **changes: Any) -> Path:
        file = read_model_file(DATA / source)
        path = tmp_path / (name or source)
        if changes.get("document", file.document) is None:
            path.write_bytes(file.model)
        else:
            document = {**(file.document or {}), **changes}
            path.write_bytes(attach(file.model, document, file.kind))
        return path

    return write


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_file_is_what_it_says(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_libraries(name)
    path = DATA / f"tiny.{name}"
    assert main(["check", str(path), "--json"]) == 0
    document = document_of(capsys)
    assert document["verdict"]["passed"] is True
    assert document["verdict"]["judged_by"] == "metadata"
    assert document["golden"]["error"] is None
    assert document["macs"]["int8_share"] == (1.0 if "int8" in name else 0.0)
    per_channel = document["weights"]["int8_per_channel_share"]
    assert per_channel == (1.0 if "int8" in name else None)
    assert document["unfolded_batchnorm"] == document["custom_operators"] == []
    assert (
        sum(one["macs"] for one in document["operators"]) == document["macs"]["total"]
    )


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_file_breaks_the_promises_of_every_other_format(name: str) -> None:
    needs_libraries(name)
    summary = analyze(read_graph(read_model_file(DATA / f"tiny.{name}")))
    kept = {one for one in FORMATS if not check_format(summary, one)}
    # Graphs do not tell which file format they are of; the name does.
    own = name.split(".")[0]
    assert {one.split("-", 1)[1] for one in kept} == {own}


def test_table_has_operators_layers_and_verdict(
    tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(tiny_model_path)]) == 0
    out = capsys.readouterr().out
    assert "100.0 % in int8" in out
    assert "CONV_2D" in out
    assert "largest layers" in out
    assert "verdict: is tflite-int8, as its metadata says" in out
    of_file = hashlib.sha256(tiny_model_path.read_bytes()).hexdigest()
    assert re.search(rf"^sha256 +{of_file}$", out, re.MULTILINE)


def test_table_tells_figures_and_bears_strange_ones(
    rewrite: Rewrite, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {"accuracy": 0.691, "accuracy_95": [0.6757, 0.7059]}
    figures |= {"count": 3589, "macro_f1": 0.655}
    strange = figures | {"accuracy": 10**400}
    told = {"this_file": figures, "keras": strange, "data": {"accuracy_95": [1]}}
    assert main(["check", str(rewrite("tiny.int8.tflite", accuracy=told))]) == 0
    out = capsys.readouterr().out
    text = "69.10 % (67.57 to 70.59) of 3,589 images, macro-F1 0.655"
    assert re.search(rf"^accuracy: this_file +{re.escape(text)}$", out, re.MULTILINE)
    assert re.search(r'^accuracy: keras +{"accuracy": 1000', out, re.MULTILINE)


def test_float_file_called_int8_in_its_metadata_is_code_3(
    rewrite: Rewrite, capsys: pytest.CaptureFixture[str]
) -> None:
    path = rewrite("tiny.float32.tflite", "a.tflite", format="tflite-int8")
    assert main(["check", str(path)]) == 3
    out, err = capsys.readouterr()
    assert "verdict: is NOT tflite-int8" in out
    assert "expected all MACs in int8" in out
    assert err.startswith("error: a.tflite is not what it says it is (compute")


@pytest.mark.parametrize("said", [5, "all", {"a": 1}, [1, None], ["no such operator"]])
def test_strange_declaration_of_unfolded_batchnorm_declares_nothing(
    rewrite: Rewrite, capsys: pytest.CaptureFixture[str], said: Any
) -> None:
    path = rewrite("tiny.int8.tflite", origin={"unfolded_batchnorm": said})
    assert main(["check", str(path), "--json"]) == 0
    assert document_of(capsys)["verdict"]["notes"] == []


def test_file_name_that_contradicts_the_metadata_is_code_3(
    rewrite: Rewrite, capsys: pytest.CaptureFixture[str]
) -> None:
    path = rewrite("tiny.float32.tflite", "tiny.int8.tflite")
    assert main(["check", str(path), "--json"]) == 3
    assert rules(document_of(capsys)) == {"name"}


def test_expect_decides_over_name_and_metadata(
    tiny_model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["check", str(tiny_model_path), "--json", "--expect"]
    assert main([*arguments, "tflite-int8"]) == 0
    assert document_of(capsys)["verdict"]["judged_by"] == "--expect"
    assert main([*arguments, "tflite-float32"]) == 3
    assert {"compute", "weights", "name"} <= rules(document_of(capsys))


def test_unknown_format_in_the_metadata_is_code_3(
    rewrite: Rewrite, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(
            [
                "check",
                str(rewrite("tiny.int8.tflite", "a.tflite", format="best")),
                "--json",
            ]
        )
        == 3
    )
    assert rules(document_of(capsys)) == {"format"}


def test_file_without_metadata_is_judged_by_its_name(
    rewrite: Rewrite, capsys: pytest.CaptureFixture[str]
) -> None:
    path = rewrite("tiny.float32.tflite", "mine.int8.tflite", document=None)
    assert main(["check", str(path), "--json"]) == 3
    document = document_of(capsys)
    assert document["verdict"]["judged_by"] == "file name"
    assert {"compute", "weights"} <= rules(document)


def test_file_that_claims_nothing_is_described(
    rewrite: Rewrite, capsys: pytest.CaptureFixture[str]
) -> None:
    path = rewrite("tiny.int8.tflite", "mine.tflite", document=None)
    assert main(["check", str(path)]) == 0
    out = capsys.readouterr().out
    assert "verdict: not judged" in out
    assert "100.0 % in int8" in out
    assert "edge_runtime run" in out


def test_network_of_several_answers_is_not_offered_to_run(
    rewrite: Rewrite,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = rewrite("tiny.int8.tflite", "mine.tflite", document=None)
    graph = read_graph(read_model_file(path))
    detector = replace(graph, outputs=graph.outputs * 3)
    monkeypatch.setattr(check_command, "read_graph", lambda file: detector)
    assert main(["check", str(path)]) == 0
    assert "next:" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"labels": ["cat", "dog"], "golden": None}, "output-shape"),
        ({"input": {"size_px": 24, "colour": "grey"}, "golden": None}, "input-shape"),
    ],
    ids=["labels", "size"],
)
def test_metadata_that_contradict_the_tensors_are_code_3(
    rewrite: Rewrite,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    rule: str,
) -> None:
    assert main(["check", str(rewrite("tiny.int8.tflite", **changes)), "--json"]) == 3
    assert rules(document_of(capsys)) == {rule}


def test_other_answers_than_at_the_export_are_code_3(
    rewrite: Rewrite, capsys: pytest.CaptureFixture[str]
) -> None:
    golden = (read_model_file(DATA / "tiny.int8.tflite").document or {})["golden"]
    wrong = [[value + 100 for value in row] for row in golden["logits"]]
    path = rewrite("tiny.int8.tflite", golden={**golden, "logits": wrong})
    assert main(["check", str(path), "--json"]) == 3
    assert rules(document_of(capsys)) == {"golden-vectors"}


def test_missing_library_is_code_2_after_the_report(
    tiny_model_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(*_: object) -> backends.Backend:
        raise ModuleNotFoundError

    monkeypatch.setattr(backends, "BACKENDS", dict.fromkeys(backends.BACKENDS, absent))
    assert main(["check", str(tiny_model_path)]) == 2
    out, err = capsys.readouterr()
    assert "but it could not be run here" in out
    assert "pip install" in err


def test_without_onnx_the_rest_is_checked_and_the_report_says_what_to_install(
    tiny_onnx_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["check", str(tiny_onnx_path)]) == 2
    out, err = capsys.readouterr()
    assert re.search(r"^golden vectors +4 replayed", out, re.MULTILINE)
    assert re.search(r"^labels +angry, disgust", out, re.MULTILINE)
    assert "verdict: not known whether it is onnx-float32" in out
    assert err.startswith("error: onnx is not installed")
    assert "onnx-check" in err


def test_without_onnx_and_onnxruntime_both_are_named(
    tiny_onnx_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for library in ("onnx", "onnxruntime"):
        monkeypatch.setitem(sys.modules, library, None)
    assert main(["check", str(tiny_onnx_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "fer-edge[onnx-check]" in line
    assert "fer-edge[onnx]" in line


def test_without_onnx_a_name_that_contradicts_the_metadata_is_code_3(
    rewrite: Rewrite,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    path = rewrite("tiny.float32.onnx", "a.int8.onnx")
    assert main(["check", str(path), "--json"]) == 3
    document = document_of(capsys)
    assert rules(document) == {"name"}
    assert document["macs"] is document["layers"] is None


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x1c\0\0\0TFL3\xff\xff"])
def test_unreadable_file_is_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(content)
    assert main(["check", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("fer.int8.tflite", "tflite-int8"),
        ("FER.INT8.TFLITE", "tflite-int8"),
        ("a.b.dynamic-range.tflite", "tflite-dynamic-range"),
        ("a.int16x8.tflite", "tflite-int16x8"),
        ("a.int8.onnx", "onnx-int8"),
        ("a.float32.int8.tflite", "tflite-int8"),
        ("a.int8.float32.onnx", "onnx-float32"),
        ("a.int16x8.onnx", None),
        ("int8.tflite", None),
        ("a_int8.tflite", None),
    ],
)
def test_format_in_a_name(name: str, format: str | None) -> None:
    assert format_in_name(name) == format


@pytest.mark.parametrize("own", [True, False], ids=["pets", "faces"])
def test_next_command_names_the_whole_image_where_labels_are_own_ones(
    rewrite: Rewrite, capsys: pytest.CaptureFixture[str], own: bool
) -> None:
    labels = [f"pet {number}" for number in range(7)]
    changes: dict[str, Any] = {"labels": labels} if own else {}
    assert main(["check", str(rewrite("tiny.int8.tflite", **changes))]) == 0
    assert ("--faces none" in capsys.readouterr().out) is own
