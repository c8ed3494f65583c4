"""The record of instruction counts is kept, and stands in the documentation."""

import pytest

from edge_runtime.errors import FerEdgeError
from tests.arm64.record import BEGIN, DOCUMENTATION, END, added, with_table

COUNTED = {"emulator": "7.2", "created": "now", "models": [{"name": "b", "macs": 2}]}


def recorded(**changed):
    models = [{"name": "a", "macs": 1}, {"name": "b", "macs": 1}]
    return {"emulator": "7.2", "created": "then", "models": models, **changed}


def test_models_that_were_not_counted_again_stay():
    models = added(recorded(), COUNTED)["models"]
    assert models == [{"name": "a", "macs": 1}, {"name": "b", "macs": 2}]


@pytest.mark.parametrize("changed", [{"emulator": "8.0"}, {"threads": 2}], ids=str)
def test_counts_of_unlike_conditions_are_not_mixed(changed):
    with pytest.raises(FerEdgeError, match=next(iter(changed))):
        added(recorded(**changed), COUNTED)


def test_table_is_replaced_and_the_text_around_it_stays():
    text = f"before\n{BEGIN}| old |{END}\nafter\n"
    assert with_table(text, "| new |") == f"before\n{BEGIN}| new |{END}\nafter\n"


def test_documentation_has_a_place_for_the_table():
    text = DOCUMENTATION.read_text(encoding="utf-8")
    assert "| new |" in with_table(text, "| new |")


def test_text_without_a_place_for_it_is_an_error():
    with pytest.raises(FerEdgeError, match="table of the record"):
        with_table("nothing", "| new |")
