"""``python -m train.search``: a worker of a search over networks and recipes."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import (
    ConfigError,
    OutputError,
    require_in_checkout,
)
from edge_runtime.utils.argparser import exit_code_of
from edge_runtime.utils.files import write_text
from edge_runtime.utils.flags import MAX_THREADS
from train.networks import pretrained
from train.networks.backend import start_keras
from train.options import arguments as training_arguments
from train.run.folder import RUNS
from train.search.arguments import build_parser
from train.search.images import ImageSummary, read_images
from train.search.space import choose_space
from train.search.storage import open_storage, refusals

if TYPE_CHECKING:
    from train.search.board import Board
    from train.search.study import Plan

SEARCHED = (
    *("arch", "width", "depth", "size", "recipe"),
    *("augmentation", "learning_rate", "epochs"),
)
LOG = "exports.log"
# Flags of a training that the search gives itself, or that cannot be of a search.
OWN_FLAGS = {
    *("data", "arch", "width", "depth", "size_px", "recipe", "augmentation_strength"),
    *("learning_rate", "epochs", "threads", "name", "force", "resume", "max_time_s"),
}
NAME = re.compile(r"[\w][\w.-]*")


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 the user's error, 3 no trial is good enough."""
    words = list(sys.argv[1:] if argv is None else argv)
    end = words.index("--") if "--" in words else len(words)
    args = build_parser().parse_args(words[:end])
    before = signal.signal(signal.SIGTERM, _interrupt)  # what schedulers send
    try:
        return exit_code_of(lambda: _search(args, words[end + 1 :]))
    finally:
        signal.signal(signal.SIGTERM, before)


def _cpus() -> int:
    """Returns the number of CPUs that this process may use."""
    if sys.platform == "linux":
        return min(MAX_THREADS, len(os.sched_getaffinity(0)))
    return min(MAX_THREADS, os.cpu_count() or 1)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _search(args: argparse.Namespace, flags: Sequence[str]) -> int:
    require_in_checkout("optuna", "matplotlib", group="search")
    import optuna

    from train.search.conclusion import conclude
    from train.search.cost import Costs
    from train.search.limits import check_limits
    from train.search.study import open_study, require_own_folder
    from train.search.worker import Worker
    from train.search.worker_config import WorkerConfig

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    environment = dict(os.environ)
    given = _training_options(flags)
    name = args.name or f"{Path(args.data).resolve().stem}-search"
    if not NAME.fullmatch(name):
        raise ConfigError(f"expected a --name of letters, digits, . _ -, got {name!r}")
    board = _read_board(args)
    if args.json:
        _require_writable(args.json)
    folder = RUNS / name
    storage = open_storage(args.storage, folder)
    images = read_images(args.data, given)
    plan = _plan(args, images, flags, board)
    config = WorkerConfig(
        args.data,
        folder,
        args.threads or _cpus(),
        environment,
        args.take_over_s,
        args.max_time_s,
        args.export,
    )
    with refusals(args.storage):
        study = open_study(storage, name, plan)
        require_own_folder(folder, study)
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the GPU is for the trainings
        start_keras()
        costs = Costs(
            images,
            plan.costs,
            log=folder / LOG,
            environment=environment,
            board_ratio=_ratio(board) if board else 1.0,
        )
        if plan.limits:
            _say("measuring the smallest networks against the limits")
        check_limits(plan, costs)
        worker = Worker(study, plan, args.trials, costs, config, _say)
        _say(_describe(plan, images, args.trials))
        try:
            worker.work()
        except KeyboardInterrupt:
            _say("interrupted: the same command continues")
            raise
        conclude(worker, args.json)
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


def _training_options(flags: Sequence[str]) -> dict[str, object]:
    """Returns what the flags of the trainings say.

    Raises:
        ConfigError: The search gives one of them itself.
    """
    parser = training_arguments.build_parser()
    given = vars(parser.parse_args(list(flags)))
    own = [
        action.option_strings[0]
        for action in parser._actions
        if action.dest in OWN_FLAGS & set(given)
    ]
    if own:
        raise ConfigError(f"the search gives {own[0]} itself: leave it out after --")
    return given


def _require_writable(file: Path) -> None:
    """Raises OutputError now, not after a night, where a file cannot be written."""
    if os.path.isdir(file):  # noqa: PTH112 - of a name that is too long, too
        raise OutputError(f"--json: expected a file, got the folder {str(file)!r}")
    probe = file.with_name(f"{file.name}.probe")
    write_text(probe, "")
    probe.unlink()


def _read_board(args: argparse.Namespace) -> Board | None:
    from train.search.board import read_board

    if not args.on:
        return None
    if "latency" not in args.objective and args.max_latency is None:
        raise ConfigError(
            "--on names the board for latencies: it needs --max-latency, or --objective"
            " accuracy,latency"
        )
    return read_board(args.on)


def _ratio(board: Board) -> float:
    """Returns and prints how many times as long as this machine a board takes."""
    from train.search.board import compare, describe
    from train.search.cost import measure_latency_ms

    ratio = compare(board, measure_latency_ms)
    _say(describe(board, ratio))
    return ratio.mean


def _plan(
    args: argparse.Namespace,
    images: ImageSummary,
    flags: Sequence[str],
    board: Board | None,
) -> Plan:
    from train.search.study import Plan

    values = {name: getattr(args, name) for name in SEARCHED}
    values["archs"] = values.pop("arch")
    values["sizes_px"] = values.pop("size")
    values["recipes"] = values.pop("recipe")
    limits = {
        name: getattr(args, f"max_{name}") for name in ("macs", "latency", "bytes")
    }
    return Plan(
        fingerprint=images.fingerprint,
        objectives=tuple(args.objective.split(",")),
        limits={name: limit for name, limit in limits.items() if limit is not None},
        space=choose_space(
            values,
            size_px=images.size_px,
            colour=images.colour,
            images=images.count,
            weights=pretrained.is_installed("efficientnet_lite0"),
        ),
        flags=tuple(flags),
        pruning=args.pruning,
        seed=args.seed,
        board=f"{board.name} {board.fingerprint[:12]}" if board else "",
    )


def _describe(plan: Plan, images: ImageSummary, trials: int) -> str:
    """Returns in a few lines what is searched."""
    from train.search.cost import describe

    space = plan.space
    limits = ", ".join(describe(name, limit) for name, limit in plan.limits.items())
    objective = " against ".join(plan.objectives)
    return (
        f"{images.name}: {images.count:,} training, {images.validated:,} validation"
        f" images, {len(images.labels)} classes\n"
        f"{trials} trials of {space.epochs} epochs for {objective}"
        f"{f' with at most {limits}' if limits else ''}\n"
        f"networks {', '.join(space.archs)}; sizes {_join(space.sizes_px)};"
        f" recipes {', '.join(space.recipes)}"
    )


def _join(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


if __name__ == "__main__":
    sys.exit(main())
