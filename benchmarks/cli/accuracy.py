"""``python -m benchmarks accuracy``."""

from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.gate import check_gate, with_gate
from benchmarks.accuracy.measure import load_images, measure_accuracy, with_seconds
from benchmarks.accuracy.table import accuracy_table, time_line
from benchmarks.cli.parser import add_models, points
from benchmarks.common.documents import (
    Document,
    check_writable,
    machine_card,
    save_result,
)
from edge_runtime import Classifier
from edge_runtime.cli.given import GIVEN_NAMES
from edge_runtime.errors import FerEdgeError, require_in_checkout
from edge_runtime.inference.backends import BACKENDS
from edge_runtime.utils import flags
from edge_runtime.utils.argparser import add_command, as_typed, invocation
from edge_runtime.utils.files import write_text
from train.data.splits import SPLITS, Split
from train.data.vote_labels import VoteSource

EXAMPLES = """\
examples:
  python -m benchmarks accuracy pets.float32.tflite pets.int8.tflite --data photos/
  python -m benchmarks accuracy fer2013.float32.tflite fer2013.int8.tflite \\
      --data fer2013.zip --max-drop 1 --json accuracy.json --report accuracy.html
  python -m benchmarks accuracy fer2013.int8.tflite --data drawn --limit 500
  python -m benchmarks accuracy ferplus --data fer2013.zip \\
      --labels-from ferplus_votes.csv

The first model is the reference that the others are compared with.
"""


def add_accuracy(commands: Any) -> None:
    """Adds ``accuracy`` to the commands."""
    parser = add_command(
        commands,
        "accuracy",
        _accuracy,
        "how often models are right, and what changed between them",
        EXAMPLES,
    )
    add_models(parser)
    add = parser.add_argument
    add(
        "--backend",
        choices=("auto", *BACKENDS),
        default="auto",
        help="inference library (auto: the first that is installed)",
    )
    add(
        "--data",
        required=True,
        metavar="PATH",
        help="labelled images: a folder with one folder per class, a zip of one, a CSV"
        " as for train, or drawn for the built-in drawn faces",
    )
    add(
        "--labels-from",
        metavar="CSV",
        help="labels by the majority of raters' votes instead of class folders, as for"
        " train",
    )
    add(
        "--drop-category",
        action="append",
        metavar="NAME",
        help="category of the votes that is not a label (unknown and NF)",
    )
    add(
        "--split",
        choices=SPLITS,
        help="images to measure on (default: test, else validation, else all)",
    )
    add(
        "--limit",
        type=flags.positive,
        metavar="N",
        help="a random sample of about N images, the same each time (all)",
    )
    add("--threads", type=flags.threads, default=1, metavar="N", help="CPU threads (1)")
    add(
        "--max-drop",
        type=points,
        metavar="P",
        help="fail (exit code 3) when any model may have lost more than P points of"
        " accuracy against the first one, by the bound of the 95 %% interval",
    )
    add("--picture", type=Path, metavar="FILE", help="confusion matrices as a PNG")
    add("--report", type=Path, metavar="FILE", help="everything as one HTML page")
    add(
        "--with-pictures",
        action="store_true",
        help="put the images with another prediction into the report: they may be"
        " photographs of people, so take care who sees it",
    )


def _accuracy(options: argparse.Namespace) -> int:
    started = time.perf_counter()
    check_writable([options.json, options.picture, options.report], force=options.force)
    _check_accuracy_options(options)
    models = [
        Classifier.load(
            path,
            num_threads=options.threads,
            backend=options.backend,
            labels=options.labels,
            pixels=options.pixels,
            output=options.model_output,
            colour=options.colour,
            fit=options.fit,
        )
        for path in options.models
    ]
    opened = time.perf_counter()
    images = load_images(
        options.data,
        models,
        split=options.split,
        limit=options.limit,
        votes=_votes(options),
    )
    reading_s = time.perf_counter() - opened
    document = measure_accuracy(options.models, models, images, threads=options.threads)
    if options.max_drop is not None:
        document = with_gate(document, options.max_drop)
    print(accuracy_table(document))
    if options.json or options.report:
        document["machine"] = machine_card()
    _write_pictures(options, document, images.in_format_of(models[0]))
    document = with_seconds(document, started, reading_s)
    save_result(document, options.json, options.picture, options.report)
    print("\n" + time_line(document["seconds"]))
    print(_next_after_accuracy(options))
    if options.max_drop is not None:
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
    if options.drop_category and not options.labels_from:
        raise FerEdgeError("--drop-category needs --labels-from, the file of the votes")
    if options.picture or options.report:
        pages = ["jinja2"] if options.report else []
        require_in_checkout("matplotlib", *pages, group="bench")


def _votes(options: argparse.Namespace) -> VoteSource | None:
    """Returns the votes that the labels come from; None for class folders."""
    if options.labels_from:
        dropped = options.drop_category
        return VoteSource(options.labels_from, tuple(dropped) if dropped else None)
    return None


def _write_pictures(
    options: argparse.Namespace, document: Document, images: Split
) -> None:
    if options.picture:
        from train.run.plots import plot_confusion_matrices

        matrices = {
            model["name"]: np.array(model["confusion_matrix"], np.int64)
            for model in document["models"]
        }
        plot_confusion_matrices(matrices, document["labels"], options.picture)
    if options.report:
        from benchmarks.report.accuracy_page import render_accuracy

        pixels = images.images if options.with_pictures else None
        write_text(options.report, render_accuracy(document, pixels=pixels))


def _next_after_accuracy(options: argparse.Namespace) -> str:
    models = shlex.join(map(str, options.models)) + as_typed(options.words, GIVEN_NAMES)
    lines = [f"{invocation('benchmarks')} latency {models}"]
    if len(options.models) > 1 and options.max_drop is None:
        lines.append("the same with --max-drop 1 fails when more accuracy is lost")
    if not options.report:
        lines.append("the same with --report FILE.html makes a page to show")
    return "next:  " + "\n       ".join(lines)
