"""``python -m train.average``: averages the weights of several runs.

After Wortsman et al., "Model soups" (2022): where one run was initialised with the
weights of another, the mean of both is at least as accurate and costs nothing at run
time. ``--prior-shift`` subtracts a part of the logarithm of each class's frequency from
its logit (Menon et al., "Long-tail learning via logit adjustment", 2021), folded into
the last bias: rare classes are predicted more often.
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import FerEdgeError, OutputError, RunError
from edge_runtime.utils.argparser import CommandLine, exit_code_of, invocation
from edge_runtime.utils.files import real_path, replacing, write_text
from train.networks.backend import start_keras
from train.run.folder import (
    RunFolder,
    create_run,
    find_run,
    git_revision,
    require_free_name,
    run_path,
    understood,
)
from train.run.lock import locked

if TYPE_CHECKING:
    import keras

EXAMPLES = """\
examples:
  python -m train.average run-1 run-2 --name mean
  python -m train.average run-1 run-2 --weights 3 7 --prior-shift 0.2 --name mean

The new run has the configuration and the images of the last one given.
"""


def build_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = CommandLine(
        prog="python -m train.average",
        description="Averages the weights of several runs into a new run.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help="runs of the same network and images")
    add("--weights", nargs="+", type=float, metavar="X", help="one per run (equal)")
    add(
        "--prior-shift",
        type=float,
        default=0.0,
        metavar="X",
        help="part of the log class frequency subtracted from the logits, 0..1 (0)",
    )
    add("--data", metavar="PATH", help="path of the images (default: the last run's)")
    add("--name", help="name of the new run folder (default: a new one)")
    add("--force", action="store_true", help="start over in an existing --name")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 the user's error."""
    options = build_parser().parse_args(argv)
    return exit_code_of(lambda: _average(options))


def _average(options: argparse.Namespace) -> int:
    runs = [find_run(name) for name in options.runs]
    shares = normalize_weights(options.weights or [1.0] * len(runs), len(runs))
    if not 0 <= options.prior_shift <= 1:
        raise FerEdgeError(f"expected 0..1, got --prior-shift {options.prior_shift}")
    record = require_same_kind(runs)
    require_free_name(options.name, force=options.force)
    require_own_name(options.name, runs)
    require_history(runs[-1])
    config = runs[-1].read_config()
    data = replace(config, data=options.data or config.data).load_images()
    if data.fingerprint != record["data_fingerprint"]:
        raise RunError(f"{runs[-1].path} was trained on other images than {data.name}")
    start_keras(None)
    from train.run import checkpoint
    from train.run.results import write_calibration_choice, write_results

    last = checkpoint.load_progress(runs[-1].checkpoint)
    record["git_revision"] = git_revision()
    record["averaged"] = {
        "runs": [describe_parent(run, s) for run, s in zip(runs, shares, strict=True)],
        "prior_shift": options.prior_shift,
        "history": runs[-1].name,
    }

    model = mean_model(runs, shares)
    counts = np.bincount(data.train.labels, minlength=len(data.labels))
    shift_prior(model, counts, options.prior_shift)
    new = create_run(options.name, f"{runs[-1].name}-mean")
    with locked(new.path):
        require_free_name(options.name, force=options.force)
        new.clear()
        new.write_json(new.config, record)
        write_text(new.architecture, model.to_json(indent=1))
        with replacing(new.model) as temporary:
            model.save(temporary)
        write_calibration_choice(new, data, config)
        new.write_history(last.history)
        write_results(config, data, new, last)
    figures = new.read_json(new.metrics)["validation"]
    print(f"validation {figures['accuracy']:.2%}, macro-F1 {figures['macro_f1']:.3f}")
    print(f"model      {new.model}")
    print(f"next:      {invocation('export')} {shlex.quote(str(new.path))} --int8")
    return 0


def require_own_name(name: str | None, runs: Sequence[RunFolder]) -> None:
    """Raises OutputError if the new run would replace one of the averaged runs."""
    if name and real_path(run_path(name)) in {real_path(run.path) for run in runs}:
        raise OutputError(f"expected a new --name, got that of an averaged run: {name}")


def describe_parent(run: RunFolder, share: float) -> dict[str, Any]:
    """Returns the record of an averaged run, JSON-ready."""
    metrics = run.read_json(run.metrics)
    return {
        "run": run.name,
        "share": share,
        "best_epoch": metrics.get("best_epoch"),
        "git_revision": metrics.get("git_revision"),
        "model_sha256": hashlib.sha256(run.model.read_bytes()).hexdigest(),
    }


def normalize_weights(weights: Sequence[float], count: int) -> list[float]:
    """Returns shares that sum to 1.

    Raises:
        FerEdgeError: Not one per run, or not all positive.
    """
    if len(weights) != count or not all(0 < w < float("inf") for w in weights):
        raise FerEdgeError(
            f"expected {count} positive --weights, one per run, got {list(weights)}"
        )
    return [weight / sum(weights) for weight in weights]


def require_same_kind(runs: Sequence[RunFolder]) -> dict[str, Any]:
    """Returns the last run's ``config.json``, where all are of one kind.

    Raises:
        RunError: The runs are of different networks or images, or one has no model.
    """
    records = [run.read_json(run.config) for run in runs]
    with understood(runs[-1].config):
        fitted = [run for run, r in zip(runs, records, strict=True) if _is_qat(r)]
        kinds = {
            (
                r["config"]["arch"],
                r["config"].get("width", 1.0),
                r["config"].get("depth", 1),
                r["data_fingerprint"],
            )
            for r in records
        }
    if fitted:
        raise RunError(
            f"{fitted[0].path} was trained with --qat, and a mean no longer fits its"
            " steps: average the runs that it began with, then train the mean --qat"
        )
    if len(kinds) > 1:
        raise RunError(f"expected runs of one network and image set, got {kinds}")
    for run in runs:
        if not run.model.is_file():
            raise RunError(f"{run.path} has no model yet")
    return records[-1]


def _is_qat(record: dict[str, Any]) -> bool:
    return bool(record["config"].get("qat"))


def require_history(run: RunFolder) -> None:
    """Raises RunError unless the run still has its checkpoint, with the history."""
    if not (run.checkpoint / "progress.json").is_file():
        raise RunError(f"{run.path} has no checkpoint: its history was deleted")


def mean_model(runs: Sequence[RunFolder], shares: Sequence[float]) -> keras.Model:
    """Returns a network with the weighted mean of the runs' weights.

    BatchNorm's statistics are averaged too, not measured again.
    """
    import keras

    models = [
        keras.models.load_model(Path(run.model), compile=False, safe_mode=True)
        for run in runs
    ]
    mean = [
        sum(share * tensor for share, tensor in zip(shares, tensors, strict=True))
        for tensors in zip(*(model.get_weights() for model in models), strict=True)
    ]
    models[-1].set_weights(mean)
    return models[-1]


def shift_prior(model: keras.Model, counts: npt.NDArray[np.int64], part: float) -> None:
    """Subtracts ``part`` times the log class frequency from the logits' bias.

    Args:
        model: Ends in a Dense layer with a bias.
        counts: Training images of each class, int64 (classes,), all positive.
        part: 0 (nothing) to 1 (as if all classes were equally frequent).
    """
    last = model.layers[-1]
    kernel, bias = last.get_weights()
    last.set_weights([kernel, bias - part * np.log(counts / counts.sum())])


if __name__ == "__main__":
    sys.exit(main())
