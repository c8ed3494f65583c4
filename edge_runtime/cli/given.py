"""Flags for what a model file of others does not say itself."""

from __future__ import annotations

import argparse
from typing import Any, get_args

from edge_runtime.model_file.labels import labels
from edge_runtime.model_file.metadata import CHANNEL_ORDERS, OUTPUTS, Given
from edge_runtime.model_file.pixels import pixels
from edge_runtime.preprocessing import Fit

# Their names and the settings of ``add_argument``; --output is another flag of run.
GIVEN_FLAGS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("--labels",),
        {
            "type": labels,
            "metavar": "A,B,C",
            "help": "class names in order, or a file with one on each line, for a model"
            " without metadata",
        },
    ),
    (
        ("--pixels",),
        {
            "type": pixels,
            "metavar": "SCALE",
            "help": "pixels that such a model expects: raw (0..255), unit (0..1),"
            " signed (-1..1), imagenet, or a JSON file with mean and std",
        },
    ),
    (
        ("--model-output", "--output"),
        {"choices": OUTPUTS, "help": "output of such a model"},
    ),
    (
        ("--colour",),
        {
            "choices": CHANNEL_ORDERS,
            "help": "the order of its three channels (rgb); bgr where it was trained on"
            " what cv2.imread returns, or with Caffe; grey where all three are the grey"
            " image",
        },
    ),
    (
        ("--fit",),
        {
            "choices": get_args(Fit),
            "help": "how images that are not square become its input (stretch); crop"
            " for Teachable Machine, Edge Impulse and torchvision",
        },
    ),
)
# By every name of each the first one, which all commands know; in run --output is
# another flag.
GIVEN_NAMES = {name: names[0] for names, _ in GIVEN_FLAGS for name in names}
NAMES_IN_RUN = {name: name for name in GIVEN_NAMES.values()}


def given(args: argparse.Namespace) -> Given:
    """Returns what these flags say."""
    said = (args.labels, args.pixels, args.model_output, args.colour, args.fit)
    return Given(*said)
