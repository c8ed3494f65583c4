"""The command line of ``python -m train``."""

from __future__ import annotations

import argparse
import textwrap
from functools import partial
from typing import Any

from edge_runtime.utils.argparser import CommandLine
from edge_runtime.utils.flags import positive, threads, whole_number
from train.data.image_stores import CACHES
from train.options.config import FITS, LABEL_RULES
from train.options.learning import TITLE, Add, add_learning
from train.options.recipes import RECIPES
from train.options.values import (
    MOST_PROCESSES,
    devices,
    duration_s,
    processes,
    weights,
    word,
)

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
  python -m train --from runs/photos-1 --qat       where int8 loses accuracy
  python -m train audit --data photos/             what is wrong with the images
  python -m train --data photos/ --leave-out artifacts/audit/photos/audit.csv
  python -m train --data photos/ --log tensorboard --log mlflow
  python -m train --data photos/ --data dataset.zip --from pets
  python -m train --resume                         continue the newest run
  python -m train --data photos/ --devices all     on all GPUs of this machine
  python -m train --data photos/ --coordinator node1:8476 --processes 2 --process 0
                                 two machines: the same on the other, --process 1

--data is a folder, a zip of one (it is not unpacked) or a CSV. Layouts:
<class>/<image> or <split>/<class>/<image> with the splits train, val (or valid,
validation) and test. Columns: emotion,pixels,Usage (fer2013.csv) or path,label (and
split). Without a validation split, a tenth of the training images is set aside for it.
Training images that occur in an evaluation split are dropped.
"""
_GPU = (
    "Keras uses a GPU where there is one; --devices all uses several;"
    " CUDA_VISIBLE_DEVICES=-1 hides them"
)
_RECIPE = "it is a part of the --recipe"
MISSING_FLAGS = {
    **dict.fromkeys(("--device", "--gpu", "--gpus", "--cuda"), _GPU),
    "--early-stopping": "see --patience",
    **dict.fromkeys(("--optimizer", "--warmup", "--scheduler"), _RECIPE),
}
DEVICES_TITLE = "several devices (with JAX; the batch is the same, and so the result)"
RECIPES_TITLE = "recipes (times: 28,000 images of 48x48 pixels on two CPU cores):"


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser; flags that are not given are not attributes of the result."""
    parser = CommandLine(
        prog="python -m train",
        description=DESCRIPTION,
        epilog=_epilog(),
        argument_default=argparse.SUPPRESS,
    )
    parser.missing_flags = MISSING_FLAGS
    _add_run(parser.add_argument)
    add_learning(parser.add_argument_group(TITLE).add_argument)
    _add_images(parser.add_argument_group("images").add_argument)
    machine = parser.add_argument_group("machine (the result is the same)")
    _add_machine(machine.add_argument)
    _add_devices(parser.add_argument_group(DEVICES_TITLE).add_argument)
    return parser


def _add_run(add: Add) -> None:
    add(
        "--data",
        action=_DataAction,
        metavar="PATH",
        help="labelled images: a folder with one folder per class, a zip of one, or a"
        " CSV (default: the built-in drawn faces); may be repeated: the first one"
        " decides size and colour",
    )
    add(
        "--data-weights",
        type=weights,
        metavar="W,W",
        help="how often the images of each --data are drawn in an epoch (1 for the"
        " first; for others 1 to 10, so that each fills a fifth)",
    )
    add(
        "--match-appearance",
        type=float,
        metavar="X",
        help="how far images of the first --data take on light, colour cast and"
        " sharpness of the others at most, from 0, not at all, to 1 (1)",
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


class _DataAction(argparse.Action):
    """Stores the first image set as ``data``, others as ``more_data``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Adds an image set."""
        if hasattr(namespace, self.dest):
            more = getattr(namespace, "more_data", ())
            namespace.more_data = (*more, values)
        else:
            setattr(namespace, self.dest, values)


def _add_images(add: Add) -> None:
    """Which images, as what, and with which labels."""
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
        " columns file and action (leave out, keep); names of a further --data begin"
        " with its own, as in dataset.zip/cat/1.png",
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


def _add_machine(add: Add) -> None:
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


def _add_devices(add: Add) -> None:
    """Several devices, processes and machines."""
    add(
        "--devices",
        type=devices,
        metavar="N",
        help="devices of this machine that share each batch, or all (one; with several"
        " processes all)",
    )
    add(
        "--coordinator",
        metavar="HOST:PORT",
        help="host of process 0 and a free port there: the same on every machine",
    )
    add(
        "--processes",
        type=processes,
        metavar="N",
        help="how many processes train together, usually one a machine; 1 trains alone"
        " under srun and mpirun, too",
    )
    add(
        "--process",
        type=partial(whole_number, low=0, high=MOST_PROCESSES - 1),
        metavar="K",
        help="number of this process, from 0; process 0 writes the run",
    )
    add(
        "--join-timeout",
        type=duration_s,
        dest="join_timeout_s",
        metavar="TIME",
        help="how long to wait for the other processes: 90s, 10m (5m)",
    )
    add(
        "--scale-learning-rate",
        action="store_true",
        dest="scale",
        help="--batch-size is that of each device: the batch grows with their number,"
        " and the learning rate with it (with its root for Adam)",
    )


def add_words(add: Add) -> None:
    """Adds the words of the task; ``export`` has them, too.

    Args:
        add: ``add_argument`` of a parser or group.
    """
    add(
        "--subject",
        type=word,
        metavar="WORD",
        help="what the images show, such as face or bottle: events, page, MQTT and"
        " messages of the device use it",
    )
    add(
        "--labels-are",
        type=word,
        metavar="WORD",
        help="what the labels are, such as expression or material",
    )


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
