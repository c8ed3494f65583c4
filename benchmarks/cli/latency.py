"""``python -m benchmarks latency``."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from pathlib import Path
from typing import Any

from benchmarks.cli.parser import add_models, backends, seconds, thread_counts
from benchmarks.common.documents import Document, check_writable, save_result
from benchmarks.common.timing import LEAST_RUNS, MLPERF_TINY, Protocol
from benchmarks.common.validity import require_valid, verdict_lines
from benchmarks.latency.measure import measure_latency, variants_of
from benchmarks.latency.sustained import measure_sustained
from benchmarks.latency.table import latency_table
from edge_runtime.cli.given import GIVEN_NAMES, given
from edge_runtime.cli.next_run import faces_flag
from edge_runtime.errors import FerEdgeError, require_in_checkout
from edge_runtime.model_file.container import read_model_file
from edge_runtime.utils.argparser import add_command, as_typed, invocation
from edge_runtime.utils.files import write_text

EXAMPLES = """\
examples:
  python -m benchmarks latency fer2013.int8.tflite                 or: fer2013
  python -m benchmarks latency float.tflite int8.tflite --threads 1,2,4
  python -m benchmarks latency fer2013 --backend ai-edge-litert,tflite-runtime
  python -m benchmarks latency fer2013.int8.tflite --protocol mlperf-tiny --strict
  python -m benchmarks latency fer2013.int8.tflite --sustained 10m --picture heat.svg

The models are interleaved, so that their ratio holds on a busy machine. Takes five to
twenty seconds for each model and thread count. The last lines say whether the
conditions were good enough; with --strict INVALID ends with exit code 4.
"""
PROTOCOLS = ("standard", "mlperf-tiny")


def add_latency(commands: Any) -> None:
    """Adds ``latency`` to the commands."""
    parser = add_command(
        commands,
        "latency",
        _latency,
        "latency, memory and cold start of models",
        EXAMPLES,
    )
    add_models(parser)
    add = parser.add_argument
    add(
        "--threads",
        type=thread_counts,
        default=(1,),
        metavar="N,N",
        help="CPU threads (1)",
    )
    add(
        "--backend",
        type=backends,
        default=("auto",),
        metavar="A,B",
        help="inference libraries to compare (auto: the first that is installed)",
    )
    add(
        "--runs",
        type=_runs,
        default=LEAST_RUNS,
        metavar="N",
        help=f"inferences of each model at least, {LEAST_RUNS} or more ({LEAST_RUNS})",
    )
    add(
        "--protocol",
        choices=PROTOCOLS,
        default=PROTOCOLS[0],
        help="mlperf-tiny: five windows of ten seconds, median inferences per second"
        " (standard: until the median has settled)",
    )
    add("--strict", action="store_true", help="INVALID ends with exit code 4")
    add(
        "--sustained",
        type=seconds,
        metavar="TIME",
        help="then run without a pause for so long, such as 10m, and compare the first"
        " minute with the end",
    )
    add("--picture", type=Path, metavar="FILE.svg", help="chart of --sustained")


def _latency(options: argparse.Namespace) -> int:
    check_writable([options.json, options.picture], force=options.force)
    if options.picture and not options.sustained:
        raise FerEdgeError("--picture shows what --sustained measured: add it")
    if options.picture:
        require_in_checkout("matplotlib", group="bench")
    variants = variants_of(options.models, options.backend, given(options))
    document = measure_latency(
        variants, threads=options.threads, protocol=_protocol(options)
    )
    if options.sustained:
        document["sustained"] = measure_sustained(
            variants, options.sustained, threads=options.threads[0]
        )
    print(latency_table(document))
    print("\n" + "\n".join(verdict_lines(document)))
    if options.picture:
        from benchmarks.report.charts import sustained_svg

        write_text(options.picture, sustained_svg(document["sustained"]))
    save_result(document, options.json, options.picture)
    print("\n" + _next(options, document))
    if options.strict:
        require_valid(document)
    return 0


def _protocol(options: argparse.Namespace) -> Protocol:
    chosen = MLPERF_TINY if options.protocol == MLPERF_TINY.name else Protocol()
    return dataclasses.replace(chosen, runs=max(chosen.runs, options.runs))


def _next(options: argparse.Namespace, document: Document) -> str:
    benchmarks, said = invocation("benchmarks"), as_typed(options.words, GIVEN_NAMES)
    models = shlex.join(map(str, options.models))
    count = len(document["models"])
    times = [result["logits_ms"]["p50"] for result in document["results"][:count]]
    position = times.index(min(times)) // len(options.backend)
    model = options.models[position]
    fastest, faces = shlex.quote(str(model)), faces_flag(read_model_file(model))
    return (
        f"next:  {benchmarks} accuracy {models}{said} --data PATH\n"
        f"       {benchmarks} roofline {fastest}{said}\n"
        f"       {invocation()} run {fastest}{said} --source 0{faces}"
    )


def _runs(text: str) -> int:
    value = int(text)
    if value < LEAST_RUNS:
        raise argparse.ArgumentTypeError(
            f"expected at least {LEAST_RUNS} runs for a 99th percentile, got {value}"
        )
    return value
