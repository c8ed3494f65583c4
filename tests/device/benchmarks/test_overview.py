"""The page and the tables of all results together."""

import copy
import html.parser
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.common.timing import Protocol
from benchmarks.latency.measure import measure_latency, variants_of
from benchmarks.report.overview_page import render_overview
from benchmarks.report.results import (
    PREFERRED_LIBRARY,
    Result,
    collect_by_model,
    read_results,
)
from benchmarks.report.tables import markdown_tables
from benchmarks.roofline.measure import measure_roofline
from edge_runtime.errors import FerEdgeError

HOSTILE = "<script>alert('x')</script>|"
QUICK = Protocol(
    runs=3,
    seconds=0,
    windows=1,
    window_seconds=0,
    block_runs=3,
    block_seconds=0,
    warmup_runs=1,
    warmup_seconds=0,
)
ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "benchmarks" / "results"


drawing = pytest.mark.skipif(
    not (find_spec("jinja2") and find_spec("matplotlib")),
    reason="draws pages: jinja2 and matplotlib are not installed",
)


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href")]

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def measured(tiny_float_path, tiny_model_path):
    paths = [tiny_float_path, tiny_model_path]
    timed = measure_latency(variants_of(paths), protocol=QUICK, processes=1)
    return timed, measure_roofline([tiny_model_path], protocol=QUICK)


@pytest.fixture
def results(measured):
    timed, limits = copy.deepcopy(measured)
    models = [
        {
            **model,
            "accuracy": 0.5 + 0.1 * index,
            "accuracy_95": [0.4, 0.7],
            "confusion_matrix": [[3, 1], [2, 2]],
        }
        for index, model in enumerate(timed["models"])
    ]
    accuracies = {
        "schema": "fer-edge/accuracy/1",
        "data": {"name": "pets.zip", "split": "test", "count": 8},
        "labels": ["cat", "dog"],
        "models": models,
        "comparisons": [],
    }
    counted = {
        "schema": "fer-edge/instructions/1",
        "models": [
            {
                "name": "tiny.int8.tflite",
                "macs": 9_000_000,
                "sha256": timed["models"][1]["sha256"],
                "counts": [
                    {
                        "core": "cortex-a72",
                        "backend": {"name": PREFERRED_LIBRARY, "version": "2.3.0"},
                        "instructions": 12_345_678,
                        "multiply_share": 0.43,
                        "lanes_used": 0.93,
                    }
                ],
            }
        ],
    }
    board = {
        "schema": "fer-edge/doctor/1",
        "board": "Pi 4",
        "checks": [{"name": "fan"}],
    }
    documents = {
        "accuracy": accuracies,
        "latency": timed,
        "limit": limits,
        "counts": counted,
        "board": board,
    }
    return [Result(f"{name}.json", one) for name, one in documents.items()]


def test_everything_known_of_a_file_is_one_row(results):
    rows = {row.label: row for row in collect_by_model(results)}
    assert set(rows) == {"tiny.float32.tflite", "tiny.int8.tflite"}
    row = rows["tiny.int8.tflite"]
    assert row.accuracy["accuracy"] == 0.6
    assert set(row.latency) == set(row.roofline) == {1}
    assert row.instructions == {"cortex-a72": 12_345_678}


@drawing
def test_page_is_self_contained_and_shows_every_kind(results):
    text = render_overview(results)
    page = Page(text)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert all(one.startswith("data:image/svg+xml;") for one in page.addresses)
    for shown in (
        "Accuracy against latency",
        "Latency distributions",
        "Share of the peak, layer by layer",
        "Confusion matrices: pets.zip",
        "Doctor: board.json",
        "Pi 4",
        "- / 12.3 / -",
        "counted under emulation: not a time",
        f"{PREFERRED_LIBRARY} 2.3.0",
    ):
        assert shown in page.text


def test_row_names_the_network_where_the_file_name_does_not(results):
    for one in results[0].document["models"]:
        one["architecture"] = "tiny" if "float32" in one["name"] else "fer_small"
    lines = markdown_tables(results).splitlines()
    assert any(line.startswith("| tiny.int8.tflite (fer_small) |") for line in lines)
    assert any(line.startswith("| tiny.float32.tflite |") for line in lines)


@drawing
def test_invalid_measurement_is_announced_before_its_figures(results):
    results[1].document["verdict"] = {
        "valid": False,
        "reasons": ["too hot"],
        "unknown": [],
    }
    text = Page(render_overview(results)).text
    assert text.index("INVALID: too hot") < text.index("All models")


@drawing
def test_text_from_documents_is_escaped(results):
    for one in results[:3]:
        for model in one.document["models"]:
            model["name"] = HOSTILE + model["sha256"]
        for row in one.document.get("results", []) + one.document.get(
            "fresh_process", []
        ):
            sha256 = {
                "tiny.float32.tflite": results[1].document["models"][0]["sha256"],
                "tiny.int8.tflite": results[1].document["models"][1]["sha256"],
            }[row["model"]]
            row["model"] = HOSTILE + sha256
    results[0].document["data"]["name"] = HOSTILE
    results[4].document["board"] = HOSTILE
    page = Page(render_overview(results))
    assert "script" not in page.tags
    assert HOSTILE in page.text
    lines = markdown_tables(results).splitlines()
    rows = [line for line in lines if line.startswith("| &lt;")]
    assert len(rows) == 2
    assert all(row.count("|") - row.count("\\|") == 10 for row in rows)


def test_later_result_replaces_an_earlier_one(results):
    newer = copy.deepcopy(results[0])
    newer.document["models"][1]["accuracy"] = 0.99
    rows = {row.label: row for row in collect_by_model([*results, newer])}
    assert rows["tiny.int8.tflite"].accuracy["accuracy"] == 0.99


def test_invalid_figures_do_not_replace_valid_ones_and_are_marked(results):
    timed, limits = copy.deepcopy(results[1:3])
    for one in (timed, limits):
        one.document["verdict"] = {"valid": False, "reasons": ["hot"], "unknown": []}
    for one in timed.document["results"]:
        one["logits_ms"]["p50"] = 99.0
    for one in timed.document["fresh_process"]:
        one["peak_memory_mb"] = 777.0
    for one in limits.document["results"]:
        one["share"] = 0.07
    for order in ([*results, timed, limits], [timed, limits, *results]):
        text = markdown_tables(order)
        assert "99.000" not in text
        assert " 777 " not in text
        assert " 7% " not in text
        assert " ? |" not in text
    text = markdown_tables([timed, limits])
    assert text.count("| 99.000 / ") == 2
    assert text.count(" ? |") == 2 + 2 + 1  # two models, one with a limit
    assert "| 777 ? |" in text
    assert "| 7% ? |" in text


@drawing
def test_incomplete_result_is_one_error(results):
    del results[1].document["results"][0]["logits_ms"]
    with pytest.raises(FerEdgeError, match="logits_ms"):
        render_overview(results)


@drawing
def test_command_makes_page_and_tables(results, tmp_path, capsys):
    for one in results:
        (tmp_path / one.name).write_text(json.dumps(one.document))
    page, tables = tmp_path / "r.html", tmp_path / "r.md"
    argv = ["report", "--results", str(tmp_path), "--output", str(page)]
    assert main([*argv, "--markdown", str(tables)]) == 0
    assert "tiny.int8.tflite" in page.read_text()
    assert tables.read_text().startswith("# What was measured\n\n| model |")
    assert main(argv) == 2
    assert "--force" in capsys.readouterr().err


def test_folder_without_results_is_one_error(tmp_path):
    with pytest.raises(FerEdgeError, match="got none"):
        read_results(tmp_path)


@drawing
def test_committed_results_make_a_page():
    assert "What was measured" in render_overview(read_results(RESULTS))


def test_committed_table_is_that_of_the_committed_results():
    """python -m benchmarks report --markdown docs/records/results.md --force"""
    committed = (ROOT / "docs" / "records" / "results.md").read_text(encoding="utf-8")
    assert committed == markdown_tables(read_results(RESULTS))


def test_requirements_of_a_pipeline_are_a_table_with_its_verdict(results):
    met = {"name": "speed", "value": 7.0, "limit": 6.0, "at_least": True, "unit": "x"}
    missed = {**met, "name": "memory", "value": 91.2, "limit": 90.0, "unit": "MiB"}
    document = {
        "schema": "fer-edge/pipeline/1",
        "requirements": [
            {**met, "met": True},
            {**missed, "at_least": False, "met": False},
        ],
        "machine": results[1].document["machine"],
        "verdict": {"valid": False, "reasons": ["busy"]},
    }
    text = markdown_tables([*results, Result("pipeline.json", document)])
    assert "| speed | 7.00 x | >= 6.00 x | met |" in text
    assert "| memory | 91 MiB | &lt;= 90 MiB | MISSED |" in text
    assert "INVALID: busy" in text.partition("- `pipeline.json`")[2].splitlines()[0]


def test_table_says_on_what_everything_was_measured(results):
    text = markdown_tables(results)
    for one in ("latency.json", "limit.json"):
        (line,) = [line for line in text.splitlines() if line.startswith(f"- `{one}`")]
        assert f"{PREFERRED_LIBRARY} 2" in line or "tflite-runtime 2" in line
    assert "- `accuracy.json`: pets.zip, split test, 8 images" in text
    assert "- `counts.json`: " in text
    assert "board.json" not in text
