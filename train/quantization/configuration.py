"""The configuration of a run with ``--qat``: that of the run it begins with."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

from edge_runtime.errors import RunError
from train.options.config import TrainConfig
from train.run.folder import RunFolder, find_model, find_run, understood

EPOCHS = 4
LEARNING_RATE = 0.005
# Of the network and its input, which go on as they are; and what needs exact numbers.
FIXED = {
    "recipe": "--recipe",
    "arch": "--arch",
    "width": "--width",
    "depth": "--depth",
    "allow_float": "--allow-float",
    "pretrained": "--pretrained",
    "size_px": "--size",
    "colour": "--colour",
    "fit": "--fit",
    "precision": "--precision",
}


def configuration_of(start_from: str, given: Collection[str]) -> TrainConfig:
    """Returns the configuration that the flags of a run with ``--qat`` change.

    Images, labels, votes, teachers and augmentation are those of the run it begins
    with; steps are few and small, because the weights are good already. BatchNorm is
    folded, so nothing makes up for weights that decay.

    Args:
        start_from: That run's name or path.
        given: Names of the flags that were given.

    Raises:
        RunError: There is no such run, or a flag would change its network.
    """
    if not start_from:
        raise RunError(
            "--qat goes on with a finished run: name it, as in  --from runs/faces-1"
        )
    if refused := [flag for name, flag in FIXED.items() if name in given]:
        raise RunError(
            "--qat goes on with the network of --from as it is, in float32: leave out"
            f" {', '.join(refused)}"
        )
    run = find_run(start_from)
    source = run.read_config()
    teachers = tuple(name for name in source.teachers if _is_here(name))
    votes = source.soft_labels
    if "soft_labels" not in given and not Path(votes).is_file():
        votes = ""
    for name in {*source.teachers, source.soft_labels} - {*teachers, votes}:
        print(f"note: {run.name} also learnt from {name}, which is not here")
    dropped = source.drop_categories
    if dropped and not (votes or source.labels_from):
        print("note: the images that it left out by its votes are learnt again")
        dropped = None
    if "data" in given:  # all image sets are given anew
        source = dataclasses.replace(source, more_data=(), data_weights=())
    return dataclasses.replace(
        source,
        qat=True,
        start_from=start_from,
        pretrained="none",
        epochs=EPOCHS,
        optimizer="sgd",
        learning_rate=LEARNING_RATE,
        warmup_epochs=0.0,
        weight_decay=0.0,
        precision="float32",
        head_views=0,
        freeze_batch_norm=False,
        frozen_stride=0,
        patience=0,
        max_time_s=0.0,
        teachers=teachers,
        soft_labels=votes,
        drop_categories=dropped,
        log=(),
    )


def require_unfolded(config: TrainConfig) -> None:
    """Raises RunError where a training would lose the BatchNorm that --qat has folded.

    Its mean is 0 and its variance 1 there: with the statistics of a batch instead, the
    first step would undo what the scales and offsets were.
    """
    if not config.start_from or config.qat or config.freeze_batch_norm:
        return
    run = RunFolder(find_model(config.start_from).parent)
    if not run.config.is_file():
        return
    with understood(run.config):
        source = run.read_json(run.config).get("config", {})
        if source.get("qat"):
            raise RunError(
                f"{run.path} was trained with --qat, and its folded BatchNorm would be"
                " lost at the first step: begin with the run that it began with, --from"
                f" {source['start_from']}, or add --qat"
            )


def _is_here(teacher: str) -> bool:
    try:
        return find_model(teacher).is_file()
    except RunError:
        return False
