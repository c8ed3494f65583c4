"""The command line of ``python -m train``."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable
from functools import partial
from typing import Any

from edge_runtime.errors import MetadataError
from edge_runtime.model_file.metadata import check_word
from edge_runtime.utils.argparser import CommandLine, InvalidValue
from edge_runtime.utils.flags import number, positive, seed, threads
from edge_runtime.utils.suggestions import nearest
from train.data.image_stores import CACHES
from train.options.config import (
    ARCHITECTURE_NAMES,
    CLASS_WEIGHTS,
    FITS,
    LABEL_RULES,
    LOGS,
    PRECISIONS,
    is_own,
)
from train.options.recipes import RECIPES

DESCRIPTION = "Trains a classifier on labelled images; the result is runs/<name>/."
EXAMPLES = """\
examples:
  python -m train --data photos/                   one folder per class
  python -m train                                  no images: built-in drawn faces
  python -m train --data fer2013.zip --recipe quick --validation test
  python -m train --data fer2013.zip --recipe released --validation test \\
      --teacher runs/big --soft-labels votes.csv --drop-category NF
  python -m train --data fer2013.zip --validation test \\
      --labels-from ferplus_votes.csv --label-rule probability
  python -m train --data photos/ --arch my_net.py:features
  python -m train audit --data photos/             what is wrong with the images
  python -m train --data photos/ --leave-out artifacts/audit/photos/audit.csv
  python -m train --data photos/ --log tensorboard --log mlflow
  python -m train --resume                         continue the newest run

--data is a folder, a zip of one (it is not unpacked) or a CSV. Layouts:
<class>/<image> or <split>/<class>/<image> with the splits train, val (or valid,
validation) and test. Columns: emotion,pixels,Usage (fer2013.csv) or path,label (and
split). Without a validation split, a tenth of the training images is set aside for it.
Training images that occur in an evaluation split are dropped.
"""
_GPU = "Keras uses a GPU where there is one; CUDA_VISIBLE_DEVICES=-1 hides it"
_RECIPE = "it is a part of the --recipe"
MISSING_FLAGS = {
    **dict.fromkeys(("--device", "--gpu", "--gpus", "--cuda"), _GPU),
    "--early-stopping": "see --patience",
    **dict.fromkeys(("--optimizer", "--warmup", "--scheduler"), _RECIPE),
}
_STANDARD = RECIPES["standard"].config
UNITS_S = {"s": 1, "m": 60, "h": 3600}
RECIPES_TITLE = "recipes (times: 28,000 images of 48x48 pixels on two CPU cores):"


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser; flags that are not given are no attributes of the result."""
    parser = CommandLine(
        prog="python -m train",
        description=DESCRIPTION,
        epilog=_epilog(),
        argument_default=argparse.SUPPRESS,
    )
    parser.missing_flags = MISSING_FLAGS
    add = parser.add_argument
    add(
        "--data",
        metavar="PATH",
        help="labelled images: a folder with one folder per class, a zip of one, or a"
        " CSV (default: the built-in drawn faces)",
    )
    add(
        "--name", help="run folder below runs/, or a path with a / (default: a new one)"
    )
    add(
        "--recipe",
        choices=sorted(RECIPES),
        help="set of defaults, see below (transfer for photos, else standard)",
    )
    add(
        "--resume",
        nargs="?",
        const="",
        metavar="RUN",
        help="continue a run (the newest)",
    )
    add("--force", action="store_true", help="start over in an existing --name")
    learning = parser.add_argument_group(
        "learning (defaults: the recipe's; in parentheses those of standard)"
    )
    add = learning.add_argument
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
        help="train your own network although int8 has no kernel for some operators",
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
        "--pretrained",
        metavar="WEIGHTS",
        help="published weights to begin with: imagenet (the default where the network"
        " has them), none, or their file: .pth of an EfficientNet-Lite, .h5 of"
        " keras.applications.MobileNetV2 without its last layer",
    )
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
        help="a category of the votes that is no label, such as NF, not a face: images"
        " mostly voted so are left out; may be repeated (with --labels-from: unknown"
        " and NF)",
    )
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
    images = parser.add_argument_group("images")
    add = images.add_argument
    add(
        "--size",
        type=positive,
        dest="size_px",
        metavar="PX",
        help="side of the input (default: 224 for photos, the images' own for small"
        " square ones, else 96)",
    )
    add(
        "--no-flip",
        dest="flip",
        action="store_false",
        help="never mirror an image: where a mirror image has another meaning",
    )
    add(
        "--colour",
        choices=("grey", "rgb"),
        help="colour of the input (default: that of the images)",
    )
    add(
        "--labels-from",
        metavar="CSV",
        help="labels from raters' votes instead of class folders: a column called file,"
        " and one for each category",
    )
    add(
        "--label-rule",
        choices=LABEL_RULES,
        help="with --labels-from: train on the label with most votes, or on each"
        " label's share of the votes (majority)",
    )
    add(
        "--leave-out",
        "--apply",
        metavar="CSV",
        help="do not use the images that a CSV of  python -m train audit  leaves out:"
        " columns file and action (leave out, keep)",
    )
    add(
        "--fit",
        choices=FITS,
        help="how images that are not square become square, in the exported file, too"
        " (crop for images above 64 pixels, else stretch)",
    )
    add_words(add)
    add(
        "--validation",
        choices=("auto", "train", "test"),
        dest="validation_from",
        help="validate on the source's own split, on a part of the training images,"
        " or on the split named test (auto: its own, else such a part)",
    )
    add(
        "--validation-frac",
        type=float,
        metavar="X",
        help="that part's share, above 0, at most 0.5 (0.1)",
    )
    add(
        "--crop-margin",
        type=float,
        dest="crop_margin_frac",
        metavar="X",
        help="margin around a detected face, as a fraction of its box, with which a"
        " camera's crops look like these images (0)",
    )
    machine = parser.add_argument_group("machine (the result is the same)")
    add = machine.add_argument
    add(
        "--threads",
        type=threads,
        metavar="N",
        help="CPU threads of the network (all cores)",
    )
    add(
        "--workers",
        type=threads,
        metavar="N",
        help="processes that decode and augment images (one for each core; where no GPU"
        " trains, a thread of the training augments)",
    )
    add(
        "--cache",
        choices=CACHES,
        help="decoded images: ram, disk (decoded once, read in batches: for sets of any"
        " size), or none, which decodes each whenever it is used (ram below 256 MiB,"
        " else disk)",
    )
    return parser


def architecture(text: str) -> str:
    """Returns the name of a network, or ``module:function``.

    Raises:
        InvalidValue: It is neither.
    """
    if text in ARCHITECTURE_NAMES or is_own(text):
        return text
    raise InvalidValue(
        f"expected one of {', '.join(ARCHITECTURE_NAMES)}, or module:function, got"
        f" {text[:40]!r}{nearest(text, ARCHITECTURE_NAMES)}"
    )


def add_words(add: Callable[..., Any]) -> None:
    """Adds the words of the task; ``export`` has them, too.

    Args:
        add: ``add_argument`` of a parser or group.
    """
    add(
        "--subject",
        type=_word,
        metavar="WORD",
        help="what the images show, such as face or bottle: events, page, MQTT and"
        " messages of the device use it",
    )
    add(
        "--labels-are",
        type=_word,
        metavar="WORD",
        help="what the labels are, such as expression or material",
    )


def _word(text: str) -> str:
    """Returns a word, for argparse; raises ``InvalidValue``."""
    try:
        return check_word(text)
    except MetadataError as error:
        raise InvalidValue(str(error)) from error


def duration_s(text: str) -> float:
    """Returns the seconds of a duration such as ``90s``, ``10m`` or ``2h``.

    Raises:
        InvalidValue: It is none.
    """
    amount, unit = text[:-1], text[-1:]
    if unit not in UNITS_S:
        raise InvalidValue(f"expected a time such as 90s, 10m or 2h, got {text[:40]!r}")
    return number(amount, 0.01, 1e6) * UNITS_S[unit]


def _epilog() -> str:
    """Returns the examples and the purpose of each recipe."""
    lines = [EXAMPLES, RECIPES_TITLE]
    for name, recipe in RECIPES.items():
        lines += textwrap.wrap(
            recipe.purpose,
            width=80,
            initial_indent=f"  {name:<10}",
            subsequent_indent=" " * 12,
        )
    return "\n".join(lines)
