"""The flags of ``python -m train`` that decide what a network learns, and how."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from edge_runtime.utils.flags import number, positive, seed
from train.options.config import (
    ARCHITECTURE_NAMES,
    CLASS_WEIGHTS,
    LOGS,
    PRECISIONS,
)
from train.options.recipes import RECIPES
from train.options.values import architecture, duration_s

Add = Callable[..., Any]  # add_argument of a parser or group
TITLE = "learning (defaults: the recipe's; in parentheses those of standard)"
_STANDARD = RECIPES["standard"].config


def add_learning(add: Add) -> None:
    """Adds all of them.

    Args:
        add: ``add_argument`` of a parser or group.
    """
    _add_network(add)
    _add_steps(add)
    _add_teachers(add)
    _add_votes(add)
    _add_changes(add)
    _add_rest(add)


def _add_network(add: Add) -> None:
    """The network, and the weights that it begins with."""
    add(
        "--arch",
        type=architecture,
        metavar="NAME",
        help=f"the network: {', '.join(ARCHITECTURE_NAMES)}; or your own, as"
        " module:function or path/to/file.py:function: from pixels in 0..1 to features",
    )
    add(
        "--allow-float",
        action="store_true",
        help="train your own network even if int8 lacks a kernel for some operators",
    )
    add(
        "--width",
        type=float,
        metavar="X",
        help="factor of its filters (1); for fer_... and mini_xception",
    )
    add(
        "--depth",
        type=positive,
        metavar="N",
        help="factor of its number of blocks (1); for the same",
    )
    add(
        "--from",
        dest="start_from",
        metavar="RUN",
        help="initial weights from another run or .keras file where the shapes fit (the"
        " classes may differ)",
    )
    add(
        "--qat",
        action="store_true",
        help="quantization-aware: go on with the run of --from for a few epochs, each"
        " step through a simulation of its int8 file, for networks that lose accuracy"
        " there; the export then takes the ranges of this training",
    )
    add(
        "--pretrained",
        metavar="WEIGHTS",
        help="published weights to begin with: imagenet (the default where the network"
        " has them), none, or their file: .pth of an EfficientNet-Lite, .h5 of"
        " keras.applications.MobileNetV2 without its last layer; own: those that the"
        " function of your own network loads",
    )


def _add_steps(add: Add) -> None:
    """How long and how fast it learns."""
    add(
        "--epochs",
        type=positive,
        metavar="N",
        help=f"passes over the training images ({_STANDARD.epochs})",
    )
    add(
        "--patience",
        type=positive,
        metavar="N",
        help="end after N epochs without a better validation accuracy (transfer:"
        f" {RECIPES['transfer'].config.patience}, others: never)",
    )
    add(
        "--max-time",
        type=duration_s,
        dest="max_time_s",
        metavar="TIME",
        help="begin no epoch that would end after this time of training: 90s, 10m, 2h",
    )
    add(
        "--batch-size",
        type=positive,
        metavar="N",
        help=f"images per step ({_STANDARD.batch_size}; small sets get smaller ones)",
    )
    add(
        "--learning-rate",
        type=float,
        metavar="X",
        help=f"peak learning rate ({_STANDARD.learning_rate})",
    )
    add(
        "--weight-decay",
        type=float,
        metavar="X",
        help=f"decoupled weight decay, 0 or more, below 1 ({_STANDARD.weight_decay})",
    )
    add(
        "--label-smoothing",
        type=float,
        metavar="X",
        help="share of each target that is spread over all classes, 0 or more, below 1"
        f" ({_STANDARD.label_smoothing})",
    )


def _add_teachers(add: Add) -> None:
    """Other networks' answers."""
    add(
        "--teacher",
        dest="teachers",
        action="append",
        metavar="RUN",
        help="learn the answers of this run or .keras file, too; may be repeated",
    )
    add(
        "--teacher-share",
        type=float,
        metavar="X",
        help="the teachers' share of the loss, 0 or more, below 1"
        f" ({_STANDARD.teacher_share})",
    )
    add(
        "--teacher-temperature",
        type=float,
        metavar="T",
        help=f"softens their answers, 1..20 ({_STANDARD.teacher_temperature:g})",
    )
    add(
        "--teacher-views",
        type=positive,
        metavar="N",
        help="epochs after which the augmented images, and so the answers, repeat"
        f" ({_STANDARD.teacher_views})",
    )


def _add_votes(add: Add) -> None:
    """Several raters' labels."""
    add(
        "--soft-labels",
        metavar="CSV",
        help="raters' votes for the training images: a column called file, and one for"
        " each category",
    )
    add(
        "--soft-label-share",
        type=float,
        metavar="X",
        help="the votes' share of the target, 0 or more, below 1"
        f" ({_STANDARD.soft_label_share})",
    )
    add(
        "--drop-category",
        dest="drop_categories",
        action="append",
        metavar="NAME",
        help="a category of the votes that is not a label, such as NF (not a face):"
        " images with most votes for it are left out; may be repeated (with"
        " --labels-from: unknown and NF)",
    )


def _add_changes(add: Add) -> None:
    """How training images are changed."""
    add(
        "--augmentation",
        type=partial(number, low=0, high=2),
        dest="augmentation_strength",
        metavar="X",
        help="strength of the recipe's augmentation, 0 to 2 (1)",
    )
    add(
        "--mixup",
        type=float,
        metavar="ALPHA",
        help="mix pairs of images, in shares from Beta(ALPHA, ALPHA): 0.2 is usual (0:"
        " never)",
    )
    add(
        "--cutmix",
        type=float,
        metavar="ALPHA",
        help="put a rectangle of another image into each, in shares from Beta(ALPHA,"
        " ALPHA): 1 is usual (0: never); with --mixup each batch takes one of both",
    )


def _add_rest(add: Add) -> None:
    """Loss, arithmetic, random numbers and records."""
    add(
        "--class-weights",
        choices=CLASS_WEIGHTS,
        help="how much more a rare class weighs in the loss"
        f" ({_STANDARD.class_weights})",
    )
    add(
        "--precision",
        choices=PRECISIONS,
        help=f"arithmetic of the training steps ({_STANDARD.precision})",
    )
    add(
        "--seed",
        type=seed,
        metavar="N",
        help=f"seed of all random numbers ({_STANDARD.seed})",
    )
    add(
        "--log",
        action="append",
        choices=LOGS,
        help="record the run there, too: event files for TensorBoard in the run folder;"
        " MLflow: the server of MLFLOW_TRACKING_URI, else the folder mlruns/; may be"
        " repeated",
    )
