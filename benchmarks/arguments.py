"""The command line of ``python -m benchmarks``."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.turns import LEAST_RUNS
from edge_runtime import flags
from edge_runtime.backends import BACKENDS
from train.splits import SPLITS

DESCRIPTION = "Measures model files the way a device runs them."
EXAMPLES = """\
examples:
  python -m benchmarks accuracy float.tflite int8.tflite --data fer2013.zip
  python -m benchmarks latency float.tflite int8.tflite --threads 1,2
  python -m benchmarks report accuracy.json --latency latency.json --output r.html

exit codes: 0 done, 2 something given is wrong, 3 the gate failed, 4 not measurable
"""
ACCURACY_EXAMPLES = """\
examples:
  python -m benchmarks accuracy fer.int8.tflite --data photos/
  python -m benchmarks accuracy fer.float32.tflite fer.int8.tflite \\
      --data fer2013.zip --max-drop 1 --json accuracy.json --report accuracy.html
  python -m benchmarks accuracy fer.int8.tflite --data drawn --limit 500

DATA is a folder, a zip of one (not unpacked), fer2013.csv, or "drawn" for the built-in
drawn faces. The first model is the reference that the others are compared with.
"""
LATENCY_EXAMPLES = """\
examples:
  python -m benchmarks latency fer.int8.tflite
  python -m benchmarks latency fer.float32.tflite fer.int8.tflite --threads 1,2,4

The models take turns, so that their ratio holds on a busy machine. Takes about five
seconds for each model and thread count, longer for slow models.
"""


def build_parser() -> argparse.ArgumentParser:
    """Returns the command line; ``command`` is accuracy, latency or report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_accuracy(commands)
    _add_latency(commands)
    _add_report(commands)
    return parser


def _add_accuracy(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> None:
    parser = commands.add_parser(
        "accuracy",
        help="how often models are right, and what changed between them",
        description="Classifies the same labelled images with every model.",
        epilog=ACCURACY_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_models(parser)
    add = parser.add_argument
    add("--data", required=True, metavar="PATH", help="labelled images, or: drawn")
    add("--split", choices=SPLITS, help="default: test, else validation, else all")
    add("--limit", type=flags.positive, metavar="N", help="a seeded sample of about N")
    add("--threads", type=flags.threads, default=1, metavar="N", help="CPU threads (1)")
    add(
        "--max-drop",
        type=_points,
        metavar="P",
        help="fail (exit code 3) when any model may have lost more than P points of"
        " accuracy against the first one, by the bound of the 95 %% interval",
    )
    add("--picture", type=Path, metavar="FILE", help="confusion matrices as a PNG")
    add("--report", type=Path, metavar="FILE", help="everything as one HTML page")
    add(
        "--with-pictures",
        action="store_true",
        help="put the images that got another answer into the report: they may be"
        " people's photographs, so mind who gets to see it",
    )


def _add_latency(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "latency",
        help="how long models take, how much memory, how they start",
        description="Times models in turns: percentiles, memory, cold start.",
        epilog=LATENCY_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_models(parser)
    add = parser.add_argument
    add(
        "--threads",
        type=_thread_counts,
        default=(1,),
        metavar="N,N",
        help="CPU thread counts (1)",
    )
    add(
        "--runs",
        type=_runs,
        default=LEAST_RUNS,
        metavar="N",
        help=f"fewest runs of each model, at least {LEAST_RUNS} (default)",
    )


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "report",
        help="an HTML page from results that were kept as JSON",
        description="Writes one self-contained HTML page.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("accuracy", type=Path, metavar="ACCURACY.json", help="from accuracy --json")
    add("--latency", type=Path, metavar="FILE", help="from latency --json")
    add("--output", type=Path, required=True, metavar="FILE.html")
    add("--force", action="store_true", help="replace an existing page")


def _add_models(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("models", nargs="+", type=Path, metavar="MODEL", help=".tflite or .onnx file")
    add("--json", type=Path, metavar="FILE", help="keep the result as JSON")
    add("--force", action="store_true", help="replace existing files")
    add("--backend", choices=("auto", *BACKENDS), default="auto")
    add(
        "--labels",
        type=lambda text: text.split(","),
        metavar="A,B",
        help="class names in order, for a model without metadata",
    )


def _points(text: str) -> float:
    value = float(text)
    if not 0 < value <= 100:
        # No image set can show that nothing at all was lost.
        raise argparse.ArgumentTypeError(
            f"expected more than 0 and at most 100 points, got {text}"
        )
    return value


def _runs(text: str) -> int:
    value = int(text)
    if value < LEAST_RUNS:
        raise argparse.ArgumentTypeError(
            f"expected at least {LEAST_RUNS} runs for a 99th percentile, got {value}"
        )
    return value


def _thread_counts(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(flags.threads(part) for part in text.split(",")))
