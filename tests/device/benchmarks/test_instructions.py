"""The record of instruction counts: its figures, its gate and its table."""

import copy
import json
from pathlib import Path

import pytest

from benchmarks.common.documents import read_document
from edge_runtime.errors import GateError
from tests.arm64.instruction_record import (
    SCHEMA,
    Count,
    check_counts,
    make_document,
    markdown,
    model_entry,
)

ROOT = Path(__file__).parents[3]
RECORD = ROOT / "benchmarks" / "results" / "instruction_counts.json"
COUNTERS = {
    "instructions": 1_000_000,
    "dot_product": 40_000,
    "int_multiply": 10_000,
    "float_multiply": 0,
    "half_multiply": 0,
    "dot_product_macs": 640_000,
    "int_multiply_macs": 40_000,
    "float_multiply_macs": 0,
    "half_multiply_macs": 0,
}


@pytest.fixture
def document(tiny_model_path):
    counts = [
        Count("cortex-a72", "ai-edge-litert", "2.3.0", COUNTERS),
        Count("cortex-a76", "ai-edge-litert", "2.3.0", COUNTERS),
    ]
    return make_document([model_entry(tiny_model_path, counts)], {"emulator": "none"})


def with_instructions(document, factor):
    changed = copy.deepcopy(document)
    count = changed["models"][0]["counts"][1]
    count["instructions"] = round(factor * count["instructions"])
    return changed


def test_record_says_that_it_is_not_a_time(document):
    assert "not a time" in document["meaning"]


def test_record_is_json_and_names_the_file_by_its_hash(document):
    assert json.loads(json.dumps(document)) == document
    assert len(document["models"][0]["sha256"]) == 64


def test_shares_are_of_the_instructions_and_of_what_they_could_do(document):
    model = document["models"][0]
    count = model["counts"][0]
    assert count["multiply_share"] == 0.05
    assert count["lanes_used"] == round(model["macs"] / 680_000, 4)
    assert count["instructions_per_mac"] == round(1_000_000 / model["macs"], 4)


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.0099])
def test_gate_lets_pass_what_rose_by_at_most_one_percent(document, factor):
    check_counts(document, with_instructions(document, factor))


def test_gate_refuses_what_rose_by_more_and_names_it(document):
    with pytest.raises(GateError, match=r"tiny.*cortex-a76.*1,000,000 \(\+1\.10 %"):
        check_counts(document, with_instructions(document, 1.011))


def test_gate_compares_a_file_that_was_exported_again_with_the_one_before(document):
    changed = with_instructions(document, 1.2)
    changed["models"][0]["sha256"] = "0" * 64
    with pytest.raises(GateError, match="another file"):
        check_counts(document, changed)


def test_gate_compares_a_new_version_of_a_library_with_the_old_one(document):
    changed = with_instructions(document, 1.2)
    changed["models"][0]["counts"][1]["backend"]["version"] = "3.0.0"
    with pytest.raises(GateError, match=r"version 2\.3\.0 then, 3\.0\.0 now"):
        check_counts(document, changed)


def test_gate_refuses_a_model_that_is_not_on_record(document):
    with pytest.raises(GateError, match="is not on record"):
        check_counts(make_document([], {}), document)


def test_table_has_a_row_for_each_library_and_a_column_for_each_core(document):
    rows = markdown(document).splitlines()
    assert len(rows) == 3
    cells = [cell.strip() for cell in rows[2].strip("|").split("|")]
    assert cells[0] == "tiny.int8.tflite"
    assert cells[2:5] == ["ai-edge-litert 2.3.0", "- / 1.0 / 1.0", "- / 5 / 5"]
    used = f"{100 * document['models'][0]['macs'] / 680_000:.0f}"
    assert cells[5] == f"- / {used} / {used}"
    assert all(row.count("|") == rows[0].count("|") for row in rows)


def test_table_in_the_documentation_is_that_of_the_record():
    recorded = read_document(RECORD, SCHEMA)
    page = ROOT / "docs" / "records" / "instructions.md"
    assert markdown(recorded) in page.read_text("utf-8")
