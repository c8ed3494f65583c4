"""``python -m benchmarks``: how accurate and how fast model files are."""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks import accuracy, latency, report, tables
from benchmarks.accuracy_table import accuracy_table, time_line
from benchmarks.arguments import build_parser
from benchmarks.gate import check_gate, with_gate
from benchmarks.images import load_images
from benchmarks.models import (
    Document,
    check_writable,
    open_models,
    read_document,
    write_json,
)
from benchmarks.turns import Protocol
from edge_runtime.errors import FerEdgeError, exit_code_of, missing
from edge_runtime.files import write_text
from train.plots import plot_confusion_matrices, plot_matrix_differences
from train.splits import Split


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 the user's error, 3 gate, 4 not measurable."""
    options = build_parser().parse_args(argv)
    return exit_code_of(lambda: COMMANDS[options.command](options))


def _accuracy(options: argparse.Namespace) -> int:
    started = time.perf_counter()
    check_writable([options.json, options.picture, options.report], force=options.force)
    _check_accuracy_options(options)
    models = open_models(
        options.models,
        threads=options.threads,
        backend=options.backend,
        labels=options.labels,
    )
    opened = time.perf_counter()
    images = load_images(options.data, models, split=options.split, limit=options.limit)
    reading_s = time.perf_counter() - opened
    document = accuracy.measure_accuracy(
        options.models, models, images, threads=options.threads
    )
    if options.max_drop is not None:
        document = with_gate(document, options.max_drop)
    print(accuracy_table(document))
    _write_pictures(options, document, images.form_for(models[0]))
    document = accuracy.with_seconds(document, started, reading_s)
    if options.json:
        write_json(options.json, document)
    _say_written([options.json, options.picture, options.report])
    print("\n" + time_line(document["seconds"]))
    print(_next_after_accuracy(options))
    check_gate(document)
    return 0


def _check_accuracy_options(options: argparse.Namespace) -> None:
    if options.max_drop is not None and len(options.models) < 2:
        raise FerEdgeError(
            "--max-drop compares with the first model: expected two models or more,"
            " got one"
        )
    if options.with_pictures and not options.report:
        raise FerEdgeError(
            "--with-pictures puts images into the page: add --report FILE.html"
        )
    if options.picture and importlib.util.find_spec("matplotlib") is None:
        raise missing("matplotlib", "bench")


def _write_pictures(
    options: argparse.Namespace, document: Document, images: Split
) -> None:
    if options.picture:
        matrices = {
            model["name"]: np.array(model["confusion_matrix"], np.int64)
            for model in document["models"]
        }
        plot = plot_matrix_differences if len(matrices) > 1 else plot_confusion_matrices
        plot(matrices, document["labels"], options.picture)
    if options.report:
        pixels = images.images if options.with_pictures else None
        write_text(options.report, report.render(document, pixels=pixels))


def _latency(options: argparse.Namespace) -> int:
    check_writable([options.json], force=options.force)
    document = latency.measure_latency(
        options.models,
        threads=options.threads,
        backend=options.backend,
        labels=options.labels,
        protocol=Protocol(runs=options.runs),
    )
    print(tables.latency_table(document))
    latency.check_valid(document)
    if options.json:
        write_json(options.json, document)
        _say_written([options.json])
    print("\n" + _next_after_latency(options, document))
    return 0


def _report(options: argparse.Namespace) -> int:
    check_writable([options.output], force=options.force)
    document = read_document(options.accuracy, accuracy.SCHEMA)
    timed = None
    if options.latency:
        timed = read_document(options.latency, latency.SCHEMA)
    write_text(options.output, report.render(document, timed))
    _say_written([options.output])
    return 0


def _say_written(paths: Sequence[Path | None]) -> None:
    written = [str(path) for path in paths if path is not None]
    if written:
        print("\nwritten: " + ", ".join(written))


def _next_after_accuracy(options: argparse.Namespace) -> str:
    models = shlex.join(map(str, options.models))
    lines = [f"python -m benchmarks latency {models}"]
    if len(options.models) > 1 and options.max_drop is None:
        lines.append("the same with --max-drop 1 fails when more accuracy is lost")
    if not options.report:
        lines.append("the same with --report FILE.html makes a page to show")
    return "next:  " + "\n       ".join(lines)


def _next_after_latency(options: argparse.Namespace, document: Document) -> str:
    models = shlex.join(map(str, options.models))
    first_round = document["results"][: len(options.models)]
    times = [result["logits_ms"]["p50"] for result in first_round]
    fastest = shlex.quote(str(options.models[times.index(min(times))]))
    return (
        f"next:  python -m benchmarks accuracy {models} --data PATH\n"
        f"       python -m edge_runtime run {fastest} --source 0"
    )


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "accuracy": _accuracy,
    "latency": _latency,
    "report": _report,
}

if __name__ == "__main__":
    sys.exit(main())
