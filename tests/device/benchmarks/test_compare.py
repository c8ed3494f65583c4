"""Two measurements compared: the ratio, its interval, and what is refused."""

import copy
import json

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.common.documents import write_json
from benchmarks.latency.compare import compare_latency, comparison_lines, ratio_interval
from edge_runtime.errors import FerEdgeError, MeasurementError


def document(p50=2.0, name="m.tflite", seed=0):
    medians = p50 * np.random.default_rng(seed).normal(1, 0.01, 10)
    return {
        "schema": "fer-edge/latency/1",
        "protocol": {"name": "standard", "runs": 200},
        "models": [{"name": name, "backend": {"name": "ai-edge-litert"}}],
        "results": [
            {
                "model": name,
                "threads": 1,
                "logits_ms": {"p50": p50},
                "windows": [{"p50": float(one)} for one in medians],
            }
        ],
        "machine": {
            "model": "Raspberry Pi 4",
            "cpu": "Cortex-A72",
            "governor": "performance",
            "python": "3.11.2",
            "versions": {"ai-edge-litert": "2.3.0"},
        },
        "verdict": {"valid": True, "reasons": []},
    }


def test_ratio_is_b_over_a_with_its_interval():
    (row,) = compare_latency(document(2.0), document(1.0, seed=1))["rows"]
    low, high = row["ratio_95"]
    assert low < row["ratio"] < high
    assert low < 0.5 < high
    assert high - low < 0.02


def test_equal_measurements_show_no_difference():
    found = compare_latency(document(seed=1), document(seed=2))
    assert "no significant difference" in comparison_lines(found)[0]


def test_interval_covers_the_true_ratio_in_most_trials():
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(60):
        a, b = rng.normal(2, 0.1, 12), rng.normal(1, 0.05, 12)
        low, high = ratio_interval(list(a), list(b))["ratio_95"]
        covered += low <= 0.5 <= high
    # 57 are expected; a percentile bootstrap of twelve windows is a little narrow.
    assert covered >= 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"machine": {"governor": "ondemand"}}, "governor", id="governor"),
        pytest.param({"machine": {"model": "Pi 5"}}, "Pi 5", id="board"),
        pytest.param({"machine": {"versions": {"x": "9"}}}, "versions", id="versions"),
        pytest.param({"protocol": {"name": "mlperf-tiny"}}, "protocol", id="protocol"),
        pytest.param({"verdict": {"valid": False}}, "INVALID", id="invalid"),
    ],
)
def test_different_conditions_are_refused(change, message):
    other = document()
    for key, values in change.items():
        other[key] = {**other[key], **values}
    with pytest.raises(MeasurementError, match=message):
        compare_latency(document(), other)


@pytest.mark.parametrize("despite", ["machine", "versions", "protocol", "validity"])
def test_difference_named_by_despite_is_allowed(despite):
    other = document(1.0)
    other["machine"] |= {"model": "Pi 5"} if despite == "machine" else {}
    other["machine"] |= {"versions": {}} if despite == "versions" else {}
    other["protocol"] |= {"runs": 300} if despite == "protocol" else {}
    other["verdict"]["valid"] = despite != "validity"
    found = compare_latency(document(), other, despite=[despite])
    assert found["despite"] == [despite]
    assert len(found["rows"]) == 1


def test_single_models_of_other_names_are_compared():
    (row,) = compare_latency(document(name="a"), document(name="b"))["rows"]
    assert (row["a"], row["b"]) == ("a", "b")


def test_nothing_in_common_is_one_error():
    both = document(name="b")
    both["models"].append({"name": "c", "backend": {"name": "x"}})
    with pytest.raises(FerEdgeError, match=r"a \(1\)"):
        compare_latency(document(name="a"), both)


def test_document_of_an_older_version_is_refused():
    older = copy.deepcopy(document())
    del older["verdict"]
    with pytest.raises(MeasurementError, match="older version"):
        compare_latency(older, document())


def test_command_prints_the_ratio_and_ends_with_4_when_refused(tmp_path, capsys):
    a, b, hot = (tmp_path / f"{name}.json" for name in ("a", "b", "hot"))
    write_json(a, document(2.0))
    write_json(b, document(1.0))
    write_json(hot, document() | {"verdict": {"valid": False}})
    out = tmp_path / "out.json"
    assert main(["compare", str(a), str(b), "--json", str(out)]) == 0
    assert json.loads(out.read_text())["schema"] == "fer-edge/compare/1"
    assert "faster" in capsys.readouterr().out
    assert main(["compare", str(a), str(hot)]) == 4
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
