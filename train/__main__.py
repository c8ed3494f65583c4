"""``python -m train``: trains a classifier on labelled images."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import (
    INTERRUPTED_EXIT_CODE,
    ConfigError,
    FerEdgeError,
    RunError,
)
from edge_runtime.utils.argparser import exit_code_of, invocation
from edge_runtime.utils.signals import exit_now
from train.data.decoding import Decoder
from train.metrics import is_guessing
from train.networks import pretrained
from train.options import defaults
from train.options.arguments import build_parser
from train.options.config import TUPLES, TrainConfig
from train.options.recipes import RECIPES
from train.options.steps import fit_to_count
from train.parallel.devices import require_backend, versions
from train.parallel.group import Group, open_group
from train.parallel.place import FLAGS as PLACE_FLAGS
from train.parallel.place import find_place
from train.parallel.supervisor import supervise
from train.quantization.configuration import configuration_of
from train.run.folder import (
    RunFolder,
    find_model,
    git_revision,
    read_labels,
    understood,
)
from train.session import FILES, fit_images, require_inputs, resume

if TYPE_CHECKING:
    from train.training import FitResult

AUDIT = "audit"  # the one command beside training itself
RELEASED_START = "fer2013"  # what small grey images begin with
# Of the configuration, with --resume: files that may be elsewhere now.
CHANGED = ("data", "more_data", "labels_from", "leave_out", "log")
MACHINE = ("threads", "workers", "cache", "devices")
PLACE = (*PLACE_FLAGS, "join_timeout_s")
RESUME_FLAGS = {*CHANGED, *MACHINE, *PLACE, "name", "resume", "force"}
OWN = {*RESUME_FLAGS, *FILES} - {"devices"}  # of each of several processes
JOIN_TIMEOUT_S = 300.0


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 the user's error, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == [AUDIT]:
        from train.audit.__main__ import main as audit

        return audit(words[1:])
    options = vars(build_parser().parse_args(words))
    return exit_code_of(lambda: _begin(options, words))


def _begin(options: dict[str, Any], words: Sequence[str]) -> int:
    """Trains, or starts what trains as one of several processes."""
    group = open_group()
    if group.count > 1:
        # The libraries' own end would wait for processes that may not end now.
        exit_now(exit_code_of(lambda: _train_together(options, group)))
    place = find_place(options)
    if place or "devices" in options:
        require_backend()
    elif options.get("scale"):
        raise ConfigError("--scale-learning-rate is for several devices: add --devices")
    if place:
        return supervise(place, words, options.get("join_timeout_s", JOIN_TIMEOUT_S))
    return _train(options, group)


def _train_together(options: dict[str, Any], group: Group) -> int:
    """Trains as one of several processes; sends them its error where it cannot."""
    try:
        revision = {"revision of this program": git_revision()}
        group.require_same({**versions(), **revision})
        flags = {name: value for name, value in options.items() if name not in OWN}
        group.require_same({**flags, "--resume": "resume" in options})
        return _train(options, group)
    except FerEdgeError as error:
        group.failed(str(error))
        raise
    except Exception:
        group.wait_for_end()
        raise


def _train(options: dict[str, Any], group: Group) -> int:
    result = _resume(options, group) if "resume" in options else _fit(options, group)
    if group.is_first:
        _print_result(RunFolder(result.path), result)
    return 0 if result.finished else INTERRUPTED_EXIT_CODE


def build_config(
    options: dict[str, Any], base: TrainConfig | None = None
) -> TrainConfig:
    """Returns a configuration with the values of the command line.

    Args:
        options: The flags that were given.
        base: What they change; None for the recipe's.
    """
    recipe = base or RECIPES[options.get("recipe", "standard")].config
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    given = {key: value for key, value in options.items() if key in fields}
    for name in TUPLES:
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
    """Returns the configuration, with published weights unless flags say otherwise."""
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


def _fit(options: dict[str, Any], group: Group) -> FitResult:
    """Returns how far a new run came, with what suits the images."""
    of_run: dict[str, Any] = {
        "name": options.get("name"),
        "force": options.get("force", False),
        "threads": options.get("threads"),
    }
    base = None
    if "qat" in options:
        base = configuration_of(options.get("start_from", ""), options)
    if group.is_first:  # it alone reads and writes them
        require_inputs(build_config(options, base), **of_run)
    chooses = group.is_first and base is None
    chosen = group.share(_defaults(options) if chooses else {})
    config = build_config({**chosen, **options}, base)
    workers = options.get("workers")
    data = config.load_images(Decoder(options.get("cache"), workers))
    config = fit_to_count(config, len(data.train), options)
    return fit_images(
        config,
        data,
        workers=workers,
        devices=options.get("devices"),
        group=group,
        scale=options.get("scale", False),
        **of_run,
    )


def _defaults(options: dict[str, Any]) -> dict[str, Any]:
    """Returns, and prints, flags that suit the images where none were given."""
    has_weights = pretrained.is_installed(RECIPES["transfer"].config.arch)
    model = find_model(RELEASED_START)
    released = (RELEASED_START, read_labels(model) or [])
    chosen = defaults.choose(
        options,
        has_weights=has_weights,
        released=released,
        start=_start(options.get("start_from", "")),
    )
    command = f"make setup  (or  pip install --group {pretrained.GROUP})"
    if line := defaults.describe(chosen, has_weights=has_weights, command=command):
        print(line)
    return chosen


def _start(source: str) -> defaults.Start | None:
    """Returns the run that the initial weights are from; None for a file alone."""
    run = RunFolder(find_model(source).parent) if source else None
    if run is None or not (run.config.is_file() and run.metrics.is_file()):
        return None
    metrics = run.read_json(run.metrics)
    with understood(run.metrics):
        return defaults.start_of(run.read_config(), metrics)


def _resume(options: dict[str, Any], group: Group) -> FitResult:
    """Resumes a run with its own configuration and returns how far it came."""
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
    changed = {name: options[name] for name in CHANGED if name in options}
    changed |= {name: tuple(changed[name]) for name in TUPLES if name in changed}
    name = options["resume"] or options.get("name")
    machine: dict[str, Any] = {each: options.get(each) for each in MACHINE}
    return resume(name, group=group, **machine, **changed)


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
    if run.read_config().qat:
        kept = progress.history[progress.best_epoch - 1]
        print(
            f"int8        {kept['val_accuracy']:.2%} of the validation images, as"
            " simulated"
        )
    validation = document.get("validation")
    if validation and is_guessing(validation["recall"].values(), validation["count"]):
        print(
            "no better than guessing: with few images start from trained weights"
            " (--from fer2013 for small grey ones, --recipe transfer for photos), or"
            " take smaller batches (--batch-size 16) or more --epochs"
        )
    if document["data"]["name"] == "drawn faces":
        print("(drawn faces: this says nothing about real ones)")
    print(f"model       {run.model}  (epoch {progress.best_epoch})")
    print(f"plots       {run.path}/curves.png, {run.path}/confusion_matrix.png")
    print(f"next:       {invocation('export')} {shlex.quote(str(run.path))} --int8")


if __name__ == "__main__":
    sys.exit(main())
