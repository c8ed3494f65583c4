import dataclasses
import itertools
import json
import sys
import time

import pytest

from benchmarks.__main__ import build_parser, main
from benchmarks.cli import latency as latency_command
from benchmarks.common.timing import (
    MLPERF_TINY,
    Protocol,
    Timings,
    ratio,
    time_interleaved,
)
from benchmarks.latency import measure as latency
from benchmarks.latency.cold_start import measure_fresh_process
from benchmarks.latency.measure import measure_latency, variants_of
from benchmarks.latency.sustained import measure_sustained
from benchmarks.latency.table import latency_table
from edge_runtime.errors import MeasurementError
from tests.console import one_error_line

QUICK = Protocol(
    runs=30,
    seconds=0,
    windows=1,
    window_seconds=0,
    block_runs=10,
    block_seconds=0,
    warmup_runs=3,
    warmup_seconds=0,
    stable_frac=1e9,
)


def test_percentiles_of_known_times():
    timings = Timings(blocks=[list(range(1, 51)), list(range(51, 102))])
    assert timings.percentiles() == {"p50": 51, "p90": 91, "p99": 100, "runs": 101}


class Clock:
    """A clock that only advances with the calls it times."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s

    def call_that_takes(self, seconds):
        durations = iter(seconds)

        def call():
            self.now_s += next(durations)

        return call


def test_ratio_is_taken_round_by_round():
    # The machine is three times slower in the second round: the ratio stays.
    reference = Timings(blocks=[[2.0] * 3, [6.0] * 3])
    model = Timings(blocks=[[1.0] * 3, [3.0] * 3])
    assert ratio(model, reference) == {"median": 0.5, "p5": 0.5, "p95": 0.5, "turns": 2}


def test_spread_compares_slow_blocks_with_fast_ones():
    assert Timings(blocks=[[1.0]] * 10).spread() == 1
    assert Timings(blocks=[[1.0]] * 10 + [[4.0]] * 10).spread() == pytest.approx(4)


def test_calls_are_interleaved_in_blocks():
    order = []
    calls = [lambda: order.append("a"), lambda: order.append("b")]
    timings = time_interleaved(calls, QUICK)
    assert order == ["a"] * 3 + ["b"] * 3 + (["a"] * 10 + ["b"] * 10) * 3
    assert [timing.warmup_runs for timing in timings] == [3, 3]
    assert [timing.percentiles()["runs"] for timing in timings] == [30, 30]


def test_fast_call_fills_its_block_with_time():
    clock = Clock()
    protocol = dataclasses.replace(
        QUICK, runs=1, seconds=0.02, block_runs=1, block_seconds=0.01
    )
    call = clock.call_that_takes(itertools.repeat(2**-10))
    timings = time_interleaved([call], protocol, clock=clock)[0]
    assert [len(block) for block in timings.blocks] == [11, 11]


def test_times_are_milliseconds():
    timings = time_interleaved([lambda: time.sleep(0.005)], QUICK)[0]
    assert timings.percentiles()["p50"] >= 5  # how much longer is up to the machine


def test_result_has_all_keys(tiny_float_path, tiny_model_path):
    document = measure_latency(
        variants_of([tiny_float_path, tiny_model_path]),
        threads=(1, 2),
        protocol=QUICK,
        processes=1,
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
    assert [one["repeats"] for one in document["fresh_process"]] == [1, 1]
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_table_names_every_model_and_thread_count(tiny_model_path):
    document = measure_latency(
        variants_of([tiny_model_path]), threads=(1, 2), protocol=QUICK, processes=1
    )
    shown = latency_table(document)
    assert "1 thread," in shown
    assert "2 threads," in shown
    assert shown.count(tiny_model_path.name) == 5


def test_windows_divide_all_runs():
    timings = time_interleaved([lambda: None], dataclasses.replace(QUICK, windows=4))[0]
    windows = timings.windows()
    assert [one["runs"] for one in windows] == [10] * 4
    assert timings.percentiles()["runs"] == 40
    # One over the mean time of a call, which lies between the extremes.
    times = timings.times()
    for one in windows:
        assert 1e3 / times.max() <= one["per_second"] <= 1e3 / times.min()


def test_measuring_goes_on_until_the_medians_stay():
    protocol = dataclasses.replace(
        QUICK, runs=1, windows=4, block_runs=5, warmup_runs=0, stable_frac=0.5
    )
    for slow_runs, expected in ((20, 4), (10, 6)):
        clock = Clock()
        durations = itertools.chain([0.004] * slow_runs, itertools.repeat(0.001))
        call = clock.call_that_takes(durations)
        timings = time_interleaved([call], protocol, clock=clock)[0]
        # With 20 slow runs the first four windows are alike. With 10, two slow ones
        # have to leave the last four.
        assert len(timings.windows()) == expected
        assert timings.stable(protocol)


def test_call_that_never_settles_ends_at_the_bound():
    clock = Clock()
    protocol = dataclasses.replace(
        QUICK, runs=1, windows=2, block_runs=1, stable_frac=0.02, most_seconds=0.05
    )
    call = clock.call_that_takes(0.0005 * 1.5**n for n in itertools.count())
    timings = time_interleaved([call], protocol, clock=clock)[0]
    assert not timings.stable(protocol)
    assert 50 <= timings.times().sum() < 150


def test_conditions_are_sampled_between_windows():
    seen = []
    protocol = dataclasses.replace(QUICK, windows=3)
    time_interleaved([lambda: None], protocol, after_window=lambda: seen.append(1))
    assert len(seen) == 3


def test_mlperf_tiny_is_five_windows_of_ten_seconds():
    options = build_parser().parse_args(
        ["latency", "m.onnx", "--protocol", "mlperf-tiny"]
    )
    chosen = latency_command._protocol(options)
    assert (chosen.windows, chosen.window_seconds) == (5, 10.0)
    assert chosen.most_seconds == chosen.seconds == 50.0
    assert MLPERF_TINY.name == "mlperf-tiny"


def test_sustained_run_compares_its_beginning_with_its_end(tiny_model_path):
    (row,) = measure_sustained(variants_of([tiny_model_path]), 1.6)
    assert row["seconds"] == 1.6
    assert row["windows"][-1]["at_s"] > 1.0
    ratio_found = row["steady_p50_ms"] / row["first_p50_ms"]
    assert row["steady_to_first"] == pytest.approx(ratio_found)


def test_sustained_run_of_many_models_has_a_beginning_for_each(tiny_model_path):
    """The last model's first window begins behind the first tenth."""
    rows = measure_sustained(variants_of(4 * [tiny_model_path]), 6.0)
    assert rows[3]["windows"][0]["at_s"] > rows[3]["first_seconds"]
    assert all(row["steady_to_first"] > 0 for row in rows)  # and no nan


def test_too_short_sustained_run_is_refused(tiny_model_path):
    with pytest.raises(MeasurementError, match="at least"):
        measure_sustained(variants_of([tiny_model_path]), 1.0)


def test_one_file_in_two_libraries_has_two_names(tiny_model_path):
    names = [
        one.name for one in variants_of([tiny_model_path], ("auto", "ai-edge-litert"))
    ]
    assert names == ["tiny.int8.tflite (auto)", "tiny.int8.tflite (ai-edge-litert)"]


def test_fresh_process_does_not_count_the_memory_of_this_one(tiny_model_path):
    ballast = bytearray(b"\1" * (300 * 2**20))
    figures = measure_fresh_process(tiny_model_path, repeats=1)
    del ballast
    assert 10 < figures["steady_memory_mb"] <= figures["peak_memory_mb"] < 250
    assert 0 < figures["loaded_ms"] <= figures["answered_ms"]


def test_failing_fresh_process_is_named(tmp_path):
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"nothing")
    with pytest.raises(MeasurementError, match=r"broken\.tflite.*ModelError"):
        measure_fresh_process(path, repeats=1)


def test_command_writes_its_document(tiny_model_path, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(latency_command, "_protocol", lambda options: QUICK)
    out = tmp_path / "latency.json"
    argv = ["latency", str(tiny_model_path), "--json", str(out)]
    assert main([*argv, "--sustained", "1.6"]) == 0
    document = json.loads(out.read_text())
    assert document["results"][0]["logits_ms"]["runs"] >= QUICK.runs
    assert document["sustained"][0]["windows"]
    shown = capsys.readouterr().out
    assert "measurement " in shown
    assert "next:" in shown


def test_picture_of_sustained_load_is_an_svg(tiny_model_path, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not in this environment")
    monkeypatch.setattr(latency_command, "_protocol", lambda options: QUICK)
    picture = tmp_path / "heat.svg"
    argv = ["latency", str(tiny_model_path), "--sustained", "1.6"]
    assert main([*argv, "--picture", str(picture)]) == 0
    assert "<svg" in picture.read_text()


def test_library_of_the_picture_is_missed_before_anything_is_measured(
    tiny_model_path, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(latency_command, "measure_latency", None)
    argv = ["latency", str(tiny_model_path), "--sustained", "1.6"]
    assert main([*argv, "--picture", str(tmp_path / "heat.svg")]) == 2
    assert "matplotlib is not installed" in one_error_line(capsys)


def test_standard_protocol_reaches_a_99th_percentile():
    assert latency.STANDARD.runs >= 200
    assert latency.STANDARD.seconds >= 2
    assert latency.STANDARD.most_seconds < 60


def test_strict_ends_an_invalid_measurement_with_4(
    tiny_model_path, capsys, monkeypatch
):
    restless = dataclasses.replace(QUICK, windows=2, stable_frac=-1.0, most_seconds=0)
    monkeypatch.setattr(latency_command, "_protocol", lambda options: restless)
    assert main(["latency", str(tiny_model_path), "--strict"]) == 4
    assert "median still moved" in one_error_line(capsys)


def test_missing_model_is_one_line(capsys):
    assert main(["latency", "nowhere.tflite"]) == 2
    assert "nowhere.tflite" in one_error_line(capsys)


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(["--threads", "0"], id="no thread"),
        pytest.param(["--threads", "1,x"], id="threads that are no number"),
        pytest.param(["--runs", "10"], id="too few runs for a percentile"),
        pytest.param(["--sustained", "soon"], id="a time that is none"),
        pytest.param(["--backend", "abacus"], id="a library that is none"),
    ],
)
def test_impossible_flags_end_with_2(flags, tiny_model_path):
    with pytest.raises(SystemExit) as ended:
        main(["latency", str(tiny_model_path), *flags])
    assert ended.value.code == 2
