"""How many instructions an inference takes, and that it does not become more."""

import pytest

from benchmarks.common.documents import read_document
from edge_runtime.inspection.analyzer import analyze, read_graph
from edge_runtime.model_file.container import read_model_file
from tests.arm64 import plan
from tests.arm64.counting import SAME, count_instructions, read_counters
from tests.arm64.instruction_record import (
    SCHEMA,
    check_counts,
    make_document,
    model_entry,
)

gated = pytest.mark.parametrize("model", plan.gated(), ids=lambda path: path.name)
LITERT_A76 = (plan.LITERT, plan.A76)
LITERT_A72 = (plan.LITERT, plan.A72)


@gated
def test_inference_takes_no_more_instructions_than_on_record(work, model):
    counts = [work.count(place, model).result() for place in plan.COUNTS]
    recorded = read_document(plan.RECORDS[model], SCHEMA)
    check_counts(recorded, make_document([model_entry(model, counts)], {}))


def test_count_is_the_same_again(work):
    first = work.count(LITERT_A76, plan.TINY).result()
    again = count_instructions(work.board(LITERT_A76), plan.TINY, work.plugin)
    one, other = (count.counters["instructions"] for count in (first, again))
    assert abs(one - other) <= SAME * one


@pytest.mark.parametrize(
    ("place", "kind"), [(LITERT_A76, "dot_product"), (LITERT_A72, "int_multiply")]
)
def test_cores_multiply_as_their_instruction_set_allows(work, place, kind):
    count = work.count(place, plan.TINY).result()
    macs = analyze(read_graph(read_model_file(plan.TINY))).macs
    assert macs <= count.counters[f"{kind}_macs"] <= 2 * macs


def test_dot_products_are_not_counted_on_a_core_that_has_none(work):
    assert work.count(LITERT_A72, plan.TINY).result().counters["dot_product"] == 0


def test_inferences_that_differ_are_no_figure():
    text = "mark 0 instructions 5\nmark 1 instructions 100\nmark 3 instructions 101\n"
    with pytest.raises(ValueError, match="not alike"):
        read_counters(text)


def test_figure_is_that_of_the_last_inference():
    text = "mark 0 instructions 5\nmark 1 instructions 99\nmark 2 instructions 5\n"
    text += "mark 3 instructions 70 branches 3\nmark 5 instructions 70 branches 3\n"
    assert read_counters(text) == {"instructions": 70, "branches": 3}
