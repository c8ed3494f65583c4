"""The command line of ``python -m train.search``."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TypeVar

from edge_runtime.model_file.metadata import LARGEST_SIZE_PX
from edge_runtime.utils.argparser import CommandLine, InvalidValue
from edge_runtime.utils.flags import (
    number,
    path,
    positive,
    seed,
    threads,
    whole_number,
)
from train.options.config import (
    ARCHITECTURE_NAMES,
    DEPTHS,
    SMALLEST_SIZE_PX,
    WIDTHS,
)
from train.options.recipes import RECIPES
from train.options.values import duration_s
from train.search.space import Range

COSTS = ("macs", "latency", "bytes")
OBJECTIVES = ("accuracy", *(f"accuracy,{cost}" for cost in COSTS))
DESCRIPTION = (
    "Searches the network, its width, depth and input size, the recipe and its\n"
    "augmentation; every trial is a run folder below runs/<name>/."
)
EXAMPLES = """\
examples:
  python -m train.search --data photos/ --trials 50
  python -m train.search --data fer2013.zip --trials 50 --max-macs 10M \\
      -- --validation test
  python -m train.search --data photos/ --trials 50 --max-latency 5ms --export
  python -m train.search --data photos/ --trials 80 --objective accuracy,latency
  python -m train.search --data photos/ --trials 50 --max-latency 20ms --on pi4.json
  python -m train.search --data photos/ --trials 200 --name photos \\
      --storage postgresql://search@db.local/search

The same command again continues a search, and started twice, on one machine or, with
--storage, on several, it is two workers. A worker ends when all trials have ended. What
a killed one was training is taken up by another after --take-over, where it stopped.

Flags after -- go to every training as they are: python -m train --help.

exit codes: 0 done, 2 an argument or a file is wrong, 3 no trial finished within the
limits
"""
MISSING_FLAGS = {
    "--resume": "the same command continues a search",
    "--workers": "start the same command once for each worker",
    "--jobs": "start the same command once for each worker",
    "--timeout": "see --max-time",
    "--validation": "flags of the trainings stand after --: -- --validation test",
}
UNITS = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}
Number = TypeVar("Number", int, float)


def build_parser() -> argparse.ArgumentParser:
    """Returns the command line, without the flags of the trainings after ``--``."""
    parser = CommandLine(
        prog="python -m train.search", description=DESCRIPTION, epilog=EXAMPLES
    )
    parser.missing_flags = MISSING_FLAGS
    add = parser.add_argument
    add(
        "--data",
        default="drawn",
        metavar="PATH",
        help="images (default: the built-in drawn faces)",
    )
    add("--name", help="name of its folder below runs/ (from --data)")
    add(
        "--trials",
        type=positive,
        default=50,
        metavar="N",
        help="trainings of all workers together (50)",
    )
    add(
        "--objective",
        choices=OBJECTIVES,
        default="accuracy",
        metavar="A[,COST]",
        help="accuracy, or accuracy against a cost, which gives a front: accuracy,macs;"
        " accuracy,latency or accuracy,bytes (accuracy, on the validation images)",
    )
    add(
        "--max-time",
        type=duration_s,
        default=0.0,
        dest="max_time_s",
        metavar="TIME",
        help="begin no trial after this time of a worker: 90s, 10m, 2h (no limit)",
    )
    add(
        "--threads",
        type=threads,
        metavar="N",
        help="CPU threads of each training (all)",
    )
    _add_limits(
        parser.add_argument_group("limits: networks above them are not trained")
    )
    _add_space(parser.add_argument_group("what is searched"))
    _add_workers(parser.add_argument_group("workers"))
    _add_results(parser.add_argument_group("results"))
    return parser


def _add_limits(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--max-macs", type=amount, metavar="N", help="multiply-accumulates: 60M")
    add(
        "--max-latency",
        type=milliseconds,
        metavar="TIME",
        help="CPU time of one image in the int8 file, on one thread of this machine, or"
        " of the board of --on: 5ms",
    )
    add(
        "--on",
        type=path,
        metavar="BOARD.json",
        help="take the latency of a board instead of this machine's: its record of"
        " python -m benchmarks latency MODEL... --threads 1 --json BOARD.json",
    )
    add("--max-bytes", type=amount, metavar="N", help="size of the int8 file: 500k")


def _add_space(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--arch",
        type=partial(choices, known=ARCHITECTURE_NAMES),
        metavar="A,B,...",
        help="networks (those that suit the images)",
    )
    add(
        "--width",
        type=partial(float_range, bounds=WIDTHS),
        metavar="LOW:HIGH",
        help="factor of their filters (0.25:1.25)",
    )
    add(
        "--depth",
        type=partial(int_range, bounds=DEPTHS),
        metavar="LOW:HIGH",
        help="factor of their number of blocks (1:2)",
    )
    add(
        "--size",
        type=sizes,
        metavar="PX,PX,...",
        help="input sides (that of the images, 5/6 and 2/3 of it)",
    )
    add(
        "--recipe",
        type=partial(choices, known=tuple(RECIPES)),
        metavar="A,B,...",
        help="recipes (quick,standard; photos: transfer)",
    )
    add(
        "--augmentation",
        type=partial(float_range, bounds=(0.0, 2.0)),
        metavar="LOW:HIGH",
        help="strength of the recipe's augmentation (0.25:1.5)",
    )
    add(
        "--learning-rate",
        type=partial(float_range, bounds=(0.01, 100.0)),
        metavar="LOW:HIGH",
        help="factor of the recipe's learning rate (0.3:3)",
    )
    add(
        "--epochs",
        type=positive,
        metavar="N",
        help="epochs of each trial (10; small sets more)",
    )
    add(
        "--no-pruning",
        dest="pruning",
        action="store_false",
        help="train all trials to the end; else one that is below the median of the"
        " others at the same epoch ends (with --objective accuracy)",
    )
    add("--seed", type=seed, default=1, metavar="N", help="seed of proposals (1)")


def _add_workers(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--storage",
        type=storage,
        metavar="URL",
        help="a database that all workers reach, postgresql://USER@HOST/DATABASE, or"
        " the path of a journal file (runs/<name>/journal.log)",
    )
    add(
        "--take-over",
        type=duration_s,
        default=60.0,
        dest="take_over_s",
        metavar="TIME",
        help="silence after which another worker takes up a worker's trial (60s)",
    )


def _add_results(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--export",
        action="store_true",
        help="at the end train the winner with all epochs of its recipe, and export it",
    )
    add("--json", type=path, metavar="FILE", help="write all trials as JSON")


def storage(text: str) -> str:
    """Returns a URL or path, for argparse; an empty one would be the default."""
    if not text:
        raise InvalidValue("expected a URL or the path of a journal, got ''")
    return text


def amount(text: str) -> int:
    """Returns the number in ``60M``, ``500k`` or ``1234``, for argparse."""
    unit = text[-1:] if text[-1:].isalpha() else ""
    if unit not in UNITS:
        raise InvalidValue(f"expected a number such as 500k or 60M, got {text[:40]!r}")
    return round(number(text.removesuffix(unit), 1e-3, 1e9) * UNITS[unit])


def milliseconds(text: str) -> float:
    """Returns the milliseconds in ``5ms`` or ``0.5ms``, for argparse."""
    if not text.endswith("ms"):
        raise InvalidValue(f"expected a time such as 5ms, got {text[:40]!r}")
    return number(text.removesuffix("ms"), 1e-6, 1e6)


def choices(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the names in ``a,b``, each one of ``known``, for argparse."""
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in known:
            raise InvalidValue(f"expected some of {', '.join(known)}, got {name!r}")
    return names


def sizes(text: str) -> tuple[int, ...]:
    """Returns the sides in ``32,48``, for argparse."""
    low, high = SMALLEST_SIZE_PX, LARGEST_SIZE_PX
    return tuple(
        dict.fromkeys(whole_number(part, low, high) for part in text.split(","))
    )


def float_range(text: str, bounds: tuple[float, float]) -> Range:
    """Returns both ends of ``0.25:1.25``; of ``0.5`` both are 0.5, for argparse."""
    ends = [number(part, *bounds) for part in text.split(":")]
    return _ends(text, ends)


def int_range(text: str, bounds: tuple[int, int]) -> Range:
    """Returns both ends of ``1:3``; of ``2`` both are 2, for argparse."""
    ends = [float(whole_number(part, *bounds)) for part in text.split(":")]
    return _ends(text, ends)


def _ends(text: str, ends: list[float]) -> Range:
    if len(ends) > 2 or ends[0] > ends[-1]:
        raise InvalidValue(f"expected LOW:HIGH or one value, got {text[:40]!r}")
    return Range(ends[0], ends[-1])
