import json
import time

import pytest

from benchmarks import latency, tables
from benchmarks.__main__ import main
from benchmarks.fresh_process import measure_fresh_process
from benchmarks.turns import Protocol, Timings, ratio, take_turns
from edge_runtime.errors import MeasurementError

QUICK = Protocol(
    runs=30, seconds=0, block_runs=10, block_seconds=0, warmup_runs=3, warmup_seconds=0
)


def one_error_line(capsys):
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def test_percentiles_of_known_times():
    timings = Timings(blocks=[list(range(1, 51)), list(range(51, 102))])
    assert timings.percentiles() == {"p50": 51, "p90": 91, "p99": 100, "runs": 101}


def test_ratio_is_taken_turn_by_turn():
    # The machine is three times slower in the second turn: the ratio stays.
    reference = Timings(blocks=[[2.0] * 3, [6.0] * 3])
    model = Timings(blocks=[[1.0] * 3, [3.0] * 3])
    assert ratio(model, reference) == {"median": 0.5, "p5": 0.5, "p95": 0.5, "turns": 2}


def test_spread_compares_slow_turns_with_fast_ones():
    assert Timings(blocks=[[1.0]] * 10).spread() == 1
    assert Timings(blocks=[[1.0]] * 10 + [[4.0]] * 10).spread() == pytest.approx(4)


def test_calls_take_turns_in_blocks():
    order = []
    calls = [lambda: order.append("a"), lambda: order.append("b")]
    timings = take_turns(calls, QUICK)
    assert order == ["a"] * 3 + ["b"] * 3 + (["a"] * 10 + ["b"] * 10) * 3
    assert [timing.warmup_runs for timing in timings] == [3, 3]
    assert [timing.percentiles()["runs"] for timing in timings] == [30, 30]


def test_fast_call_fills_its_turn_with_time():
    protocol = Protocol(
        runs=1, seconds=0.02, block_runs=1, block_seconds=0.01, warmup_runs=1
    )
    timings = take_turns([lambda: None], protocol)[0]
    assert all(len(block) > 10 for block in timings.blocks)
    assert sum(map(sum, timings.blocks)) >= 20


def test_times_are_milliseconds():
    timings = take_turns([lambda: time.sleep(0.005)], QUICK)[0]
    # A sleep is never shorter; how much longer is the machine's affair.
    assert 5 <= timings.percentiles()["p50"] < 500


def test_result_has_all_keys(tiny_float_path, tiny_model_path):
    document = latency.measure_latency(
        [tiny_float_path, tiny_model_path], threads=(1, 2), protocol=QUICK
    )
    assert document["schema"] == "fer-edge/latency/1"
    assert [one["threads"] for one in document["results"]] == [1, 1, 2, 2]
    for one in document["results"]:
        assert set(one) >= {"model", "load_ms", "first_ms", "warmup_runs", "spread"}
        for kind in ("logits_ms", "predict_ms"):
            assert one[kind]["p50"] <= one[kind]["p90"] <= one[kind]["p99"]
            assert one[kind]["runs"] >= QUICK.runs
    first, second = document["results"][:2]
    assert first["ratio_to_first"] is None
    assert set(second["ratio_to_first"]) == {"logits", "predict"}
    assert [one["repeats"] for one in document["fresh_process"]] == [3, 3]
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_table_names_every_model_and_thread_count(tiny_model_path):
    document = latency.measure_latency(
        [tiny_model_path], threads=(1, 2), protocol=QUICK
    )
    shown = tables.latency_table(document)
    assert "1 thread," in shown
    assert "2 threads," in shown
    assert shown.count(tiny_model_path.name) == 3


def test_unsteady_measurement_is_refused():
    document = {"results": [{"model": "m", "spread": 1.1}, {"model": "n", "spread": 9}]}
    with pytest.raises(MeasurementError, match=r"n: its slow turns took 9\.0 times"):
        latency.check_valid(document)
    document["results"].pop()
    latency.check_valid(document)


def test_fresh_process_does_not_count_the_memory_of_this_one(tiny_model_path):
    ballast = bytearray(b"\1" * (300 * 2**20))
    figures = measure_fresh_process(tiny_model_path, repeats=1)
    del ballast
    assert 10 < figures["peak_memory_mb"] < 250
    assert 0 < figures["loaded_ms"] <= figures["answered_ms"]


def test_failing_fresh_process_is_named(tmp_path):
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"nothing")
    with pytest.raises(MeasurementError, match=r"broken\.tflite.*ModelError"):
        measure_fresh_process(path, repeats=1)


def test_command_writes_its_document(tiny_model_path, tmp_path, capsys, monkeypatch):
    # How steady the machine that runs the tests is must not decide.
    monkeypatch.setattr(latency, "LARGEST_SPREAD", 1e9)
    out = tmp_path / "latency.json"
    assert main(["latency", str(tiny_model_path), "--json", str(out)]) == 0
    document = json.loads(out.read_text())
    assert document["results"][0]["logits_ms"]["runs"] >= 200
    assert document["protocol"]["seconds"] == 2.0
    assert "next:" in capsys.readouterr().out


def test_missing_model_is_one_line(capsys):
    assert main(["latency", "nowhere.tflite"]) == 2
    assert "nowhere.tflite" in one_error_line(capsys)


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(["--threads", "0"], id="no thread"),
        pytest.param(["--threads", "1,x"], id="threads that are no number"),
        pytest.param(["--runs", "10"], id="too few runs for a percentile"),
    ],
)
def test_impossible_flags_end_with_2(flags, tiny_model_path):
    with pytest.raises(SystemExit) as ended:
        main(["latency", str(tiny_model_path), *flags])
    assert ended.value.code == 2
