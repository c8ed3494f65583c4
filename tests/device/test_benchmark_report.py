import copy
import html.parser
import json

import numpy as np
import pytest

from benchmarks import accuracy, report
from benchmarks.__main__ import main
from benchmarks.machine import machine_card
from benchmarks.models import write_json
from benchmarks.tables import accuracy_table
from edge_runtime.errors import FerEdgeError

HOSTILE = "<script>alert('x')</script>&\""
VOID = {"meta", "img", "br"}
LABELS = ("cat", "dog")


class Page(html.parser.HTMLParser):
    """Collects tags, addresses and text, and checks that tags are closed in order."""

    def __init__(self):
        super().__init__()
        self.tags, self.addresses, self.text, self._open = [], [], "", []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href")]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def close(self):
        super().close()
        assert self._open == []


def parsed(text):
    page = Page()
    page.feed(text)
    page.close()
    return page


def model(name, matrix):
    return {
        "name": name,
        "sha256": "0" * 64,
        "bytes": 2048,
        "format": "tflite-int8",
        "architecture": "tiny",
        "backend": {"name": "ai-edge-litert", "version": "2.3.0"},
        "git_revision": "",
        "accuracy": float(np.trace(matrix) / np.sum(matrix)),
        "accuracy_95": [0.6, 0.8],
        "macro_f1": 0.7,
        "expected_calibration_error": 0.05,
        "recall": {"cat": 0.75, "dog": None},
        "confusion_matrix": matrix,
    }


@pytest.fixture
def document():
    y_true, first = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0])
    second = np.array([0, 1, 1, 0])
    compared = accuracy.compare(y_true, first, second, LABELS)
    return {
        "schema": accuracy.SCHEMA,
        "created": "2030-01-01T00:00:00+00:00",
        "data": {
            "name": "pets.zip",
            "split": "test",
            "count": 1000,
            "whole_source": False,
            "may_include_training_images": False,
            "may_have_chosen_a_model": False,
            "fingerprint": "f" * 64,
        },
        "labels": list(LABELS),
        "models": [model("a.tflite", [[2, 0], [1, 1]]), model("b", [[1, 1], [1, 1]])],
        "comparisons": [{"reference": "a.tflite", "model": "b", **compared}],
        "gate": None,
        "machine": machine_card(),
    }


@pytest.fixture
def timed():
    times = {"p50": 1.5, "p90": 2.0, "p99": 3.0, "runs": 200}
    result = {"model": "a.tflite", "threads": 1, "logits_ms": times}
    return {
        "schema": "fer-edge/latency/1",
        "machine": machine_card(),
        "results": [{**result, "ratio_to_first": None}],
        "fresh_process": [
            {"model": "a.tflite", "peak_memory_mb": 60.0, "answered_ms": 300.0}
        ],
    }


@pytest.fixture
def _matplotlib():
    pytest.importorskip("matplotlib")


@pytest.mark.usefixtures("_matplotlib")
def test_page_is_self_contained_and_well_formed(document, timed):
    page = parsed(report.render(document, timed))
    assert page.tags.count("img") == 2
    assert all(one.startswith("data:image/png;base64,") for one in page.addresses)
    assert not {"script", "link", "iframe"} & set(page.tags)


@pytest.mark.usefixtures("_matplotlib")
def test_page_shows_the_figures(document, timed):
    text = parsed(report.render(document, timed)).text
    for shown in ("75.00%", "50.00%", "-25.00 points", "p = 1.000", "1.500", "300"):
        assert shown in text


@pytest.mark.usefixtures("_matplotlib")
def test_text_from_documents_is_escaped(document, timed):
    document["data"]["name"] = HOSTILE
    document["labels"] = [HOSTILE, "dog"]
    for one in document["models"]:
        one["name"], one["format"] = HOSTILE, HOSTILE
        one["recall"] = {HOSTILE: 1.0, "dog": 0.5}
    for one in document["comparisons"]:
        one["model"] = HOSTILE
        one["recall_difference_points"] = {HOSTILE: 0.0, "dog": None}
    timed["results"][0]["model"] = HOSTILE
    text = report.render(document, timed)
    page = parsed(text)
    assert "script" not in page.tags
    assert HOSTILE in page.text


@pytest.mark.usefixtures("_matplotlib")
def test_drawn_faces_are_announced_before_any_figure(document):
    plain = report.render(document)
    document["data"]["name"] = "drawn faces"
    text = parsed(report.render(document)).text
    assert "say nothing about real faces" not in parsed(plain).text
    assert text.index("say nothing about real faces") < text.index("75.00%")


@pytest.mark.usefixtures("_matplotlib")
def test_images_of_the_training_are_announced(document):
    document["data"] |= {"whole_source": True, "may_include_training_images": True}
    assert "may have learned from" in parsed(report.render(document)).text


@pytest.mark.usefixtures("_matplotlib")
def test_gate_is_shown(document):
    document["gate"] = {"max_drop_points": 1.0, "passed": False}
    assert "failed" in parsed(report.render(document)).text


@pytest.mark.usefixtures("_matplotlib")
def test_command_makes_a_page_from_kept_results(document, timed, tmp_path, capsys):
    write_json(tmp_path / "a.json", document)
    write_json(tmp_path / "l.json", timed)
    page = tmp_path / "page.html"
    argv = ["report", str(tmp_path / "a.json"), "--output", str(page)]
    assert main([*argv, "--latency", str(tmp_path / "l.json")]) == 0
    assert "Latency" in page.read_text()
    assert main(argv) == 2
    assert "--force" in capsys.readouterr().err


def test_text_table_announces_drawn_faces(document):
    full = copy.deepcopy(document)
    full["data"]["name"] = "drawn faces"
    assert "say nothing about real faces" in accuracy_table(full)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("{", id="no JSON"),
        pytest.param("[]", id="no object"),
        pytest.param(json.dumps({"schema": "fer-edge/accuracy/9"}), id="newer schema"),
    ],
)
def test_other_documents_are_refused(content, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(FerEdgeError, match="expected"):
        report.read_document(path, accuracy.SCHEMA)
