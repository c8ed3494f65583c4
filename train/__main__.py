"""``python -m train``: learns a classifier from labelled images."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime import flags
from edge_runtime.errors import INTERRUPTED_EXIT_CODE, RunError, exit_code_of
from train import dataset
from train.config import (
    ARCHITECTURE_NAMES,
    CLASS_WEIGHTS,
    PRECISIONS,
    RECIPES,
    TrainConfig,
)
from train.dataset import Dataset
from train.quiet_start import start_keras
from train.run_folder import RunFolder, check_free, find_run, make_run, model_path

if TYPE_CHECKING:
    from train.fit import Outcome

DESCRIPTION = "Learns a classifier from labelled images and leaves runs/<name>/."
EXAMPLES = """\
examples:
  python -m train                                  the built-in drawn faces
  python -m train --data photos/                   one folder per class
  python -m train --data fer2013.zip --epochs 60 --precision bfloat16
  python -m train --resume                         continue the newest run

DATA is a folder, a zip of one (it is not unpacked) or fer2013.csv. Layouts:
<class>/<image> or <split>/<class>/<image> with the splits train, val (or valid,
validation) and test. Without a validation split, a tenth of the training images
validates. Training images that occur in an evaluation split are dropped.
"""
# What a resumed run may be told anew: where the data is now, and nothing else.
RESUME_FLAGS = {"data", "threads", "name", "resume", "force"}


def build_parser() -> argparse.ArgumentParser:
    """Returns the command line; flags that were not given leave no attribute."""
    parser = argparse.ArgumentParser(
        prog="python -m train",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data", metavar="PATH", help="images (default: the built-in drawn faces)")
    add("--name", help="name of the run folder below runs/ (default: a new one)")
    add("--recipe", choices=sorted(RECIPES), help="set of defaults (standard)")
    add("--resume", nargs="?", const="", metavar="RUN", help="continue a run (newest)")
    add("--force", action="store_true", help="start over in an existing --name")
    learning = parser.add_argument_group("learning (defaults: the recipe's)")
    add = learning.add_argument
    add("--arch", choices=ARCHITECTURE_NAMES, help="the network")
    add(
        "--from",
        dest="start_from",
        metavar="RUN",
        help="begin with the weights of another run or .keras file where they fit"
        " (other classes are no obstacle)",
    )
    add("--epochs", type=flags.positive, metavar="N", help="passes over the images")
    add("--batch-size", type=flags.positive, metavar="N", help="images per step")
    add("--learning-rate", type=float, metavar="X", help="peak learning rate")
    add("--weight-decay", type=float, metavar="X", help="decoupled weight decay")
    add("--label-smoothing", type=float, metavar="X", help="share in [0, 1)")
    add("--class-weights", choices=CLASS_WEIGHTS, help="for rare classes")
    add("--precision", choices=PRECISIONS, help="of the training steps")
    add("--seed", type=flags.seed, metavar="N", help="decides everything random")
    images = parser.add_argument_group("images")
    add = images.add_argument
    add("--size", type=flags.positive, dest="size_px", metavar="PX", help="input side")
    add("--colour", choices=("grey", "rgb"), help="default: what the images are")
    add(
        "--validation",
        choices=("auto", "train", "test"),
        dest="validation_from",
        help="validate on the source's own split, on a part of the training images,"
        " or on the split named test",
    )
    add("--validation-frac", type=float, metavar="X", help="that part's share (0.1)")
    add(
        "--crop-margin",
        type=float,
        dest="crop_margin_frac",
        metavar="X",
        help="margin around a detected face, as a fraction of its box, at which a"
        " camera's crops look like these images",
    )
    parser.add_argument(
        "--threads", type=flags.threads, metavar="N", help="CPU threads"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 the user's error, 130 interrupted."""
    options = vars(build_parser().parse_args(argv))
    return exit_code_of(lambda: _train(options))


def _train(options: dict[str, Any]) -> int:
    if "resume" in options:
        run, config, data = _continued(options)
    else:
        run, config, data = _new(options)
    print(data.summary(), flush=True)
    try:
        start_keras(options.get("threads"))
        outcome = _fit(config, data, run, resume="resume" in options)
    finally:
        run.remove_if_empty()
    _say_what_next(run, outcome)
    return 0 if outcome.finished else INTERRUPTED_EXIT_CODE


def _new(options: dict[str, Any]) -> tuple[RunFolder, TrainConfig, Dataset]:
    """Returns a new run's folder, configuration and images; errors leave no folder."""
    recipe = RECIPES[options.get("recipe", "standard")]
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    given = {key: value for key, value in options.items() if key in fields}
    config = dataclasses.replace(recipe, **given)
    name = options.get("name")
    check_free(name, force=options.get("force", False))
    if config.start_from:
        model_path(config.start_from)  # say now that it is missing, not after reading
    data = _load(config)
    stem = f"{Path(config.data).resolve().stem}-{config.arch}"
    return make_run(name, stem), config, data


def _continued(options: dict[str, Any]) -> tuple[RunFolder, TrainConfig, Dataset]:
    refused = set(options) - RESUME_FLAGS
    if refused:
        given = [
            action.option_strings[0]
            for action in build_parser()._actions
            if action.dest in refused
        ]
        raise RunError(
            f"--resume continues a run as it was begun: leave out {', '.join(given)}"
        )
    run = find_run(options["resume"] or options.get("name"))
    config = TrainConfig.from_dict(run.read_json(run.config)["config"])
    config = dataclasses.replace(config, data=options.get("data", config.data))
    data = _load(config)
    _check_same_data(run, data)
    return run, config, data


def _load(config: TrainConfig) -> Dataset:
    return dataset.load(
        config.data,
        size_px=config.size_px,
        colour=config.colour,
        validation_from=config.validation_from,
        validation_frac=config.validation_frac,
        seed=config.seed,
    )


def _check_same_data(run: RunFolder, data: Dataset) -> None:
    before = run.read_json(run.config).get("data_fingerprint")
    if before != data.fingerprint:
        raise RunError(
            f"{run.path} was begun on other images than {data.name} holds now:"
            " restore them, or start a new run"
        )


def _fit(
    config: TrainConfig, data: Dataset, run: RunFolder, *, resume: bool
) -> Outcome:
    # Keras takes seconds to import, and the errors above need none of it.
    from train import fit
    from train.results import backend_name, git_revision

    record = {
        "config": config.to_dict(),
        "data_fingerprint": data.fingerprint,
        "git_revision": git_revision(),  # of the code that is running, not of later
    }
    print(f"run {run.path}: {config.arch}, {config.epochs} epochs, {config.precision}")
    print(f"training on {', '.join(fit.devices())} ({backend_name()})")
    return fit.fit(config, data, run, record=record, resume=resume)


def _say_what_next(run: RunFolder, outcome: Outcome) -> None:
    progress = outcome.progress
    if not progress.best_epoch:
        print("\ninterrupted in the first epoch: there is no model yet")
        return
    if not outcome.finished:
        print(f"\ninterrupted after {progress.epoch} epochs; the best is kept")
        print(f"continue:   python -m train --resume {run.path}")
    document = run.read_json(run.metrics)
    for split in ("validation", "test"):
        if split in document:
            figures = document[split]
            low, high = figures["accuracy_95"]
            print(
                f"{split:<11} {figures['accuracy']:.2%} of {figures['count']:,} images"
                f" (95 %: {low:.2%} to {high:.2%}), macro-F1 {figures['macro_f1']:.3f}"
            )
    if document["data"]["name"] == "drawn faces":
        print("(drawn faces: this says nothing about real ones)")
    print(f"model       {run.model}  (best epoch {progress.best_epoch})")
    print(f"pictures    {run.path}/curves.png, {run.path}/confusion_matrix.png")
    print(f"next:       python -m export {run.path} --int8")


if __name__ == "__main__":
    sys.exit(main())
