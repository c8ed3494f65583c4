"""``python -m benchmarks roofline``."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from benchmarks.cli.parser import add_models, thread_counts
from benchmarks.common.documents import check_writable, save_result
from benchmarks.common.validity import require_valid, verdict_lines
from benchmarks.roofline.measure import measure_roofline
from benchmarks.roofline.table import roofline_table
from edge_runtime.cli.given import GIVEN_NAMES, given
from edge_runtime.inference.backends import BACKENDS_BY_KIND
from edge_runtime.utils.argparser import add_command, as_typed, invocation

EXAMPLES = """\
examples:
  python -m benchmarks roofline fer2013.int8.tflite
  python -m benchmarks roofline fer2013.float32.tflite fer2013.int8.tflite --threads 1,2

The peak is measured in the same run. Takes about twenty seconds for each model and
thread count. "limit" is an older name of this command.
"""


def add_roofline(commands: Any) -> None:
    """Adds ``roofline`` to the commands."""
    parser = add_command(
        commands,
        "roofline",
        _roofline,
        "what share of the processor's peak a model reaches, layer by layer",
        EXAMPLES,
        aliases=["limit"],
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
        choices=("auto", *BACKENDS_BY_KIND["tflite"]),
        default="auto",
        help="inference library (auto: the first that is installed)",
    )
    add("--strict", action="store_true", help="INVALID ends with exit code 4")


def _roofline(options: argparse.Namespace) -> int:
    check_writable([options.json], force=options.force)
    document = measure_roofline(
        options.models,
        threads=options.threads,
        backend=options.backend,
        given=given(options),
    )
    print(roofline_table(document))
    print("\n" + "\n".join(verdict_lines(document)))
    save_result(document, options.json)
    models = shlex.join(map(str, options.models)) + as_typed(options.words, GIVEN_NAMES)
    print(f"\nnext:  {invocation('benchmarks')} latency {models}")
    if options.strict:
        require_valid(document)
    return 0
