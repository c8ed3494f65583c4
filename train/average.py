"""``python -m train.average``: one network whose weights are the mean of several runs'.

After Wortsman et al., "Model soups" (2022): runs of which one began with the other's
weights lie in one valley, and the mean is at least as good as either, at no cost at run
time. ``--prior-shift`` subtracts a part of the logarithm of each class's frequency from
its logit (Menon et al., "Long-tail learning via logit adjustment", 2021), folded into
the last bias: rare classes are called more often.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import FerEdgeError, OutputError, RunError
from edge_runtime.utils.argparser import CommandLine, exit_code_of
from edge_runtime.utils.files import replacing, write_text
from train.data import dataset
from train.networks.backend import start_keras
from train.options.config import TrainConfig
from train.run.folder import RunFolder, check_free, find_run, make_run, run_path

if TYPE_CHECKING:
    import keras

EXAMPLES = """\
examples:
  python -m train.average run-1 run-2 --name mean
  python -m train.average run-1 run-2 --weights 3 7 --prior-shift 0.2 --name mean

The new run has the configuration and the images of the last one given.
"""
Weights = list[npt.NDArray[np.float32]]


def build_parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    parser = CommandLine(
        prog="python -m train.average",
        description="Makes one network of several runs by averaging their weights.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help="of the same network and images")
    add("--weights", nargs="+", type=float, metavar="X", help="one a run (equal)")
    add(
        "--prior-shift",
        type=float,
        default=0.0,
        metavar="X",
        help="part of the log class frequency taken from the logits, 0..1 (0)",
    )
    add("--data", metavar="PATH", help="where the images are now")
    add("--name", help="name of the new run folder (default: a new one)")
    add("--force", action="store_true", help="start over in an existing --name")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 the user's error."""
    options = build_parser().parse_args(argv)
    return exit_code_of(lambda: _average(options))


def _average(options: argparse.Namespace) -> int:
    runs = [find_run(name) for name in options.runs]
    shares = normalised(options.weights or [1.0] * len(runs), len(runs))
    if not 0 <= options.prior_shift <= 1:
        raise FerEdgeError(f"expected 0..1, got --prior-shift {options.prior_shift}")
    record = common_record(runs)
    check_free(options.name, force=options.force)
    require_own_name(options.name, runs)
    require_history(runs[-1])
    config = TrainConfig.from_dict(record["config"])
    data = dataset.load(
        options.data or config.data,
        size_px=config.size_px,
        colour=config.colour,
        validation_from=config.validation_from,
        validation_frac=config.validation_frac,
        seed=config.seed,
    )
    if data.fingerprint != record["data_fingerprint"]:
        raise RunError(f"{data.name} holds other images now than {runs[-1].path} had")
    start_keras(None)
    from train.run import checkpoint
    from train.run.results import record_calibration, write_results
    from train.run.revision import git_revision

    last = checkpoint.load_progress(runs[-1].checkpoint)
    record["git_revision"] = git_revision()
    record["averaged"] = {
        "runs": [parent_record(run, s) for run, s in zip(runs, shares, strict=True)],
        "prior_shift": options.prior_shift,
        "history": runs[-1].name,
    }

    model = mean_model(runs, shares)
    counts = np.bincount(data.train.labels, minlength=len(data.labels))
    shift_prior(model, counts, options.prior_shift)
    new = make_run(options.name, f"{runs[-1].name}-mean")
    new.clear()
    new.write_json(new.config, record)
    write_text(new.path / "architecture.json", model.to_json(indent=1))
    with replacing(new.model) as temporary:
        model.save(temporary)
    record_calibration(new, data, config)
    new.write_history(last.history)
    write_results(config, data, new, last)
    figures = new.read_json(new.metrics)["validation"]
    print(f"validation {figures['accuracy']:.2%}, macro-F1 {figures['macro_f1']:.3f}")
    print(f"model      {new.model}\nnext:      python -m export {new.path} --int8")
    return 0


def require_own_name(name: str | None, runs: Sequence[RunFolder]) -> None:
    """Raises OutputError if the new run would replace one it is made of."""
    if name and run_path(name).resolve() in {run.path.resolve() for run in runs}:
        raise OutputError(f"expected a --name of its own, got an averaged run: {name}")


def parent_record(run: RunFolder, share: float) -> dict[str, Any]:
    """Returns what the new run keeps of one it is made of, JSON-ready."""
    metrics = run.read_json(run.metrics)
    return {
        "run": run.name,
        "share": share,
        "best_epoch": metrics.get("best_epoch"),
        "git_revision": metrics.get("git_revision"),
        "model_sha256": hashlib.sha256(run.model.read_bytes()).hexdigest(),
    }


def normalised(weights: Sequence[float], count: int) -> list[float]:
    """Returns shares that sum to 1.

    Raises:
        FerEdgeError: Not one a run, or not all positive numbers.
    """
    if len(weights) != count or not all(0 < w < float("inf") for w in weights):
        raise FerEdgeError(
            f"expected {count} positive --weights, one a run, got {list(weights)}"
        )
    return [weight / sum(weights) for weight in weights]


def common_record(runs: Sequence[RunFolder]) -> dict[str, Any]:
    """Returns the last run's ``config.json``.

    Raises:
        RunError: The runs are of different networks or images, or one has no model.
    """
    records = [run.read_json(run.config) for run in runs]
    kinds = {(r["config"]["arch"], r["data_fingerprint"]) for r in records}
    if len(kinds) > 1:
        raise RunError(f"expected runs of one network and image set, got {kinds}")
    for run in runs:
        if not run.model.is_file():
            raise RunError(f"{run.path} has no model yet")
    return records[-1]


def require_history(run: RunFolder) -> None:
    """Raises RunError unless the run's checkpoint, with its history, is still there."""
    if not (run.checkpoint / "progress.json").is_file():
        raise RunError(f"{run.path} has no checkpoint with its history any more")


def mean_model(runs: Sequence[RunFolder], shares: Sequence[float]) -> keras.Model:
    """Returns a network with the weighted mean of the runs' weights.

    BatchNorm's statistics are averaged too: they are not measured anew.
    """
    import keras

    models = [
        keras.models.load_model(Path(run.model), compile=False, safe_mode=True)
        for run in runs
    ]
    weights: list[Weights] = [model.get_weights() for model in models]
    mean = [
        sum(share * one for share, one in zip(shares, same, strict=True))
        for same in zip(*weights, strict=True)
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
