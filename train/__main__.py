"""``python -m train``: learns a classifier from labelled images."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import INTERRUPTED_EXIT_CODE, DatasetError, RunError
from edge_runtime.utils.argparser import exit_code_of
from train.data import dataset
from train.data.dataset import Dataset
from train.networks.backend import start_keras
from train.options.arguments import build_parser
from train.options.config import TrainConfig
from train.options.recipes import RECIPES
from train.run.folder import RunFolder, check_free, find_run, make_run, model_path

if TYPE_CHECKING:
    from train.fit import Outcome

# What a resumed run may be told anew: where the data is now, and nothing else.
RESUME_FLAGS = {"data", "threads", "name", "resume", "force"}


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


def config_of(options: dict[str, Any]) -> TrainConfig:
    """Returns the recipe's configuration with the values that were given.

    Args:
        options: The command line; what was not given is not in it.
    """
    recipe = RECIPES[options.get("recipe", "standard")].config
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    given = {key: value for key, value in options.items() if key in fields}
    if "teachers" in given:
        given["teachers"] = tuple(given["teachers"])
    if "flip" in options:
        given["augmentation"] = dataclasses.replace(
            recipe.augmentation, flip=options["flip"]
        )
    return dataclasses.replace(recipe, **given)


def _new(options: dict[str, Any]) -> tuple[RunFolder, TrainConfig, Dataset]:
    """Returns a new run's folder, configuration and images; errors leave no folder."""
    config = config_of(options)
    name = options.get("name")
    check_free(name, force=options.get("force", False))
    _check_sources(config)
    data = _load(config)
    stem = f"{Path(config.data).resolve().stem}-{config.arch}"
    return make_run(name, stem), config, data


def _check_sources(config: TrainConfig) -> None:
    """Says now what else is missing, not after the images were read."""
    for source in (config.start_from, *config.teachers):
        if source:
            model_path(source)
    if config.soft_labels and not Path(config.soft_labels).is_file():
        raise DatasetError(
            f"expected a CSV of votes, got {config.soft_labels!r}: no such file"
        )


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
    from train.run.results import backend_name
    from train.run.revision import git_revision

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
