import base64
import copy
import html.parser
import json
import sys
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.accuracy import measure as accuracy
from benchmarks.accuracy.comparison import Predictions, compare
from benchmarks.accuracy.gate import with_gate
from benchmarks.accuracy.table import accuracy_table
from benchmarks.common.documents import machine_card, read_document, write_json
from benchmarks.report.accuracy_page import render_accuracy
from benchmarks.report.charts import confusion_chart, scatter_chart, sustained_svg
from edge_runtime.errors import FerEdgeError, MissingDependencyError
from train import metrics

pytest.importorskip("jinja2", reason="writes pages")
pytest.importorskip("matplotlib", reason="draws charts")

HOSTILE = "<script>alert('x')</script>&\""
VOID = {"meta", "img", "br"}
LABELS = ("cat", "dog")
SVG, PNG = "data:image/svg+xml;base64,", "data:image/png;base64,"


class Page(html.parser.HTMLParser):
    """Collects tags, addresses and text, and checks that tags are closed in order."""

    def __init__(self):
        super().__init__()
        self.tags, self.addresses, self.text, self._open = [], [], "", []

    def pictures(self, kind):
        """Returns the decoded pictures of a kind."""
        found = [one for one in self.addresses if one.startswith(kind)]
        return [base64.b64decode(one.removeprefix(kind)) for one in found]

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href")]
        assert tag != "img" or dict(attrs)["alt"]
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
        "temperature": 1.5,
        "reliability": metrics.reliability_diagram(
            np.array([[2.0, 0], [0, 1]]), np.array([0, 0]), 1.5
        ),
        "recall": {"cat": 0.75, "dog": None},
        "confusion_matrix": matrix,
    }


@pytest.fixture
def document():
    first = Predictions(np.array([0, 0, 1, 0]), np.array([0.9, 0.2, 0.8, 0.7]))
    second = Predictions(np.array([0, 1, 1, 0]), np.array([0.9, 0.1, 0.8, 0.7]))
    names = ("a/1.png", "a/2.png", HOSTILE, "b/4.png")
    compared = compare(
        np.array([0, 0, 1, 1]), first, second, labels=LABELS, names=names
    )
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


def test_page_is_self_contained_and_well_formed(document, timed):
    page = parsed(render_accuracy(document, timed))
    assert len(page.pictures(SVG)) == 5  # two matrices, their difference, reliability
    assert len(page.addresses) == 5
    assert not {"script", "link", "iframe"} & set(page.tags)


def test_page_shows_the_figures(document, timed):
    text = parsed(render_accuracy(document, timed)).text
    for shown in ("75.00%", "50.00%", "-25.00 points", "p = 1.000", "1.500", "300"):
        assert shown in text


def test_page_says_that_a_latency_is_invalid(document, timed):
    timed["verdict"] = {"valid": False, "reasons": ["a busy machine"], "unknown": []}
    text = parsed(render_accuracy(document, timed)).text
    assert "INVALID: a busy machine" in text


def test_text_from_documents_is_escaped(document, timed):
    document["data"]["name"] = HOSTILE
    document["labels"] = [HOSTILE, "dog"]
    for one in document["models"]:
        one["format"] = HOSTILE
        one["recall"] = {HOSTILE: 1.0, "dog": 0.5}
    document["models"][1]["name"] = HOSTILE
    for one in document["comparisons"]:
        one["model"] = HOSTILE
        one["recall_difference_points"] = {HOSTILE: 0.0, "dog": None}
        one["recall_difference_points_95"] = {HOSTILE: [0.0, 1.0], "dog": None}
        for image in one["flipped_images"]:
            image |= {"label": HOSTILE, "answer": HOSTILE, "name": HOSTILE}
            image["reference_answer"] = HOSTILE
    timed["results"][0]["model"] = HOSTILE
    pixels = np.zeros((4, 8, 8, 1), np.uint8)
    page = parsed(render_accuracy(with_gate(document, 1), timed, pixels=pixels))
    assert "script" not in page.tags
    assert HOSTILE in page.text
    drawings = [ElementTree.fromstring(svg) for svg in page.pictures(SVG)]
    names = {text for one in drawings for text in one.itertext()}
    assert any("alert" in text for text in names)  # as text, not as an element
    assert not any(tag.tag.endswith("script") for one in drawings for tag in one.iter())


@pytest.mark.parametrize("name", ["$x^2$", "悲しい", "<b>", "a & b"], ids=ascii)
def test_class_names_of_all_kinds_are_drawn_as_they_are(name):
    chart = confusion_chart("m", np.eye(2, dtype=np.int64), [name, "dog"])
    svg = base64.b64decode(chart.address.removeprefix(SVG)).decode()
    assert name in "".join(ElementTree.fromstring(svg).itertext())


@pytest.mark.parametrize("name", ["a\nb", "a\0b", "\ud800", "\u202eabc"], ids=ascii)
def test_class_names_that_cannot_be_printed_do_not_break_a_chart(name):
    chart = confusion_chart("m", np.eye(2, dtype=np.int64), [name, "dog"])
    drawing = ElementTree.fromstring(base64.b64decode(chart.address.removeprefix(SVG)))
    assert "\ufffd" in "".join(drawing.itertext())


def test_same_document_gives_the_same_page(document, timed):
    assert render_accuracy(document, timed) == render_accuracy(document, timed)


def test_thousand_classes_have_a_small_chart_with_the_largest_confusions():
    labels = [f"class {i}" for i in range(1000)]
    matrix = 20 * np.eye(1000, dtype=np.int64)
    matrix[3, 7] = 9
    chart = confusion_chart("m", matrix, labels)
    svg = base64.b64decode(chart.address.removeprefix(SVG)).decode()
    assert "class 3 as class 7: 9 of 29" in svg
    assert "class 500" not in svg
    assert len(svg) < 500_000


def test_times_without_a_pause_are_a_drawing_with_its_figures():
    windows = [
        {"at_s": 10.0 * i, "p50": 1 + i, "temperature_c": 40 + i} for i in (0, 1)
    ]
    row = {"model": "a$b$.tflite", "seconds": 300, "windows": windows}
    row |= {"first_p50_ms": 1.0, "steady_p50_ms": 1.2, "steady_to_first": 1.2}
    drawing = ElementTree.fromstring(sustained_svg([row]))
    text = "".join(drawing.itertext())
    assert "a$b$.tflite: 1.000 ms at the start, 1.200 ms in the last third" in text
    assert "up to 41 °C" in text
    assert "minutes without a pause" in text


@pytest.mark.parametrize("channels", [1, 3])
def test_flipped_images_are_shown_as_they_are(channels, document):
    pixels = np.random.default_rng(0).integers(
        0, 256, (4, 8, 8, channels), dtype=np.uint8
    )
    page = parsed(render_accuracy(document, pixels=pixels))
    (encoded,) = page.pictures(PNG)
    image = cv2.imdecode(
        np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED
    ).reshape(8, 8, channels)
    # Image 1 flipped. cv2 gives BGR.
    assert np.array_equal(image[..., ::-1], pixels[1])
    assert "photographs of people" in page.text


def test_flipped_images_are_listed_without_their_pictures(document):
    page = parsed(render_accuracy(document))
    assert "a/2.png" in page.text
    assert "a/1.png" not in page.text
    assert page.pictures(PNG) == []
    assert "photographs" not in page.text


def test_result_of_an_older_version_is_one_error(document):
    del document["models"][0]["reliability"]
    with pytest.raises(FerEdgeError, match="reliability"):
        render_accuracy(document)


def test_hundred_classes_stay_readable(document):
    labels = [f"{'a long name of a class, ' * 3}{i}" for i in range(100)]
    y_true, first, second = np.random.default_rng(0).integers(0, 100, (3, 2000))
    answers = [Predictions(one, np.full(2000, 0.5)) for one in (first, second)]
    names = [f"{i}.png" for i in range(2000)]
    compared = compare(y_true, *answers, labels=labels, names=names)
    document["labels"] = labels
    document["comparisons"] = [{"reference": "a.tflite", "model": "b", **compared}]
    for one, predicted in zip(document["models"], (first, second), strict=True):
        matrix = metrics.confusion_matrix(y_true, predicted, 100)
        one["confusion_matrix"] = matrix.tolist()
        one["recall"] = dict(zip(labels, metrics.recall_by_class(matrix), strict=True))
    lines = accuracy_table(document).splitlines()
    assert any("100 classes" in line for line in lines)
    assert len(lines) < 50
    assert max(map(len, lines)) <= 120
    assert len(render_accuracy(document)) < 2_000_000


def test_drawn_faces_are_announced_before_any_figure(document):
    plain = render_accuracy(document)
    document["data"]["name"] = "drawn faces"
    text = parsed(render_accuracy(document)).text
    assert "say nothing about real faces" not in parsed(plain).text
    assert text.index("say nothing about real faces") < text.index("75.00%")


def test_images_of_the_training_are_announced(document):
    document["data"] |= {"whole_source": True, "may_include_training_images": True}
    assert "its accuracy is too high" in parsed(render_accuracy(document)).text


def test_gate_is_shown(document):
    failed = parsed(render_accuracy(with_gate(document, 1.0))).text
    passed = parsed(render_accuracy(with_gate(document, 100.0))).text
    assert "95 % bound: failed" in failed
    assert "95 % bound: passed" in passed


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
        read_document(path, accuracy.SCHEMA)


def test_chart_without_matplotlib_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    point = ("model", 1.0, {"accuracy": 0.5, "accuracy_95": [0.4, 0.6]})

    with pytest.raises(MissingDependencyError, match="matplotlib is not installed"):
        scatter_chart([point])
