"""What a run learns from: images, their targets, and the teachers' answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from train.data.appearance import match_appearance
from train.data.dataset import Dataset
from train.data.sources import times_drawn
from train.data.splits import Split
from train.data.workers import Workers
from train.distillation.distill import (
    Targets,
    compute_targets,
    load_targets,
    save_targets,
    select_images,
)
from train.distillation.teachers import (
    VIEWS_SEED,
    load_answers,
    save_answers,
    teacher_answers,
)
from train.feed import TrainingFeed
from train.options.config import TrainConfig
from train.parallel.replicas import ONE, Replicas
from train.run.checkpoint import Progress
from train.run.folder import RunFolder


@dataclass(frozen=True)
class TrainingInputs:
    """What a run learns from.

    Attributes:
        all_targets: Targets of all training images, float32 (N, classes); see
            ``compute_targets``.
        images: The images that are not dropped.
        targets: Their targets.
        answers: The teachers' answers, see ``TrainingFeed``; None without teachers.
        feed: Their batches, from the next epoch on.
    """

    all_targets: Targets
    images: Split
    targets: Targets
    answers: npt.NDArray[np.float16] | None
    feed: TrainingFeed

    def save(self, config: TrainConfig, data: Dataset, run: RunFolder) -> None:
        """Writes what a resumed run would otherwise have to compute again."""
        if config.has_soft_targets:
            save_targets(self.all_targets, data, run)
        if self.answers is not None:
            save_answers(self.answers, run)


def prepare_inputs(
    config: TrainConfig,
    data: Dataset,
    run: RunFolder,
    progress: Progress,
    workers: Workers | None,
    replicas: Replicas = ONE,
    *,
    resume: bool,
) -> TrainingInputs:
    """Returns what a run learns from, computed, or read where it is resumed.

    Args:
        config: The configuration.
        data: The images.
        run: The run's folder.
        progress: How far the run has come.
        workers: Processes that make batches; None for a thread.
        replicas: The devices that train: the first process computes for all.
        resume: The run has its targets and answers in its folder.

    Raises:
        FerEdgeError: Votes or teachers are missing, or do not fit the images.
    """
    classes = len(data.labels)
    all_targets = replicas.from_first(
        lambda: (
            load_targets(config, data, run) if resume else compute_targets(config, data)
        ),
        (len(data.train), classes),
        np.float32,
    )
    images, targets = select_images(data, all_targets)
    make_feed = partial(
        TrainingFeed,
        images,
        config.batch_size,
        targets=targets,
        augmentation=config.augmentation,
        mixup=config.mixup,
        cutmix=config.cutmix,
        class_weights=config.class_weights,
        seed=VIEWS_SEED if config.teachers else config.seed,
        workers=workers,
        times=times_drawn(images, config.data_weights),
        appearances=match_appearance(images, config.used_match_appearance),
    )
    answers = None
    if config.teachers:
        views = make_feed()
        batches = config.teacher_views * views.steps_per_epoch
        answers = replicas.from_first(
            lambda: _answers(config, data, run, images, views, resume=resume),
            (batches, views.batch_size, classes),
            np.float16,
        )
    feed = make_feed(first_epoch=progress.epoch, answers=answers, share=replicas.share)
    return TrainingInputs(all_targets, images, targets, answers, feed)


def _answers(
    config: TrainConfig,
    data: Dataset,
    run: RunFolder,
    images: Split,
    views: TrainingFeed,
    *,
    resume: bool,
) -> npt.NDArray[np.float16]:
    if not resume:
        return teacher_answers(config, data, images, views)
    batches = config.teacher_views * views.steps_per_epoch
    return load_answers(run, (batches, views.batch_size, len(data.labels)))
