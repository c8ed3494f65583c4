"""Flags for what a model file of others does not say itself."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from edge_runtime.model_file.labels import labels
from edge_runtime.model_file.metadata import CHANNEL_ORDERS, OUTPUTS, Given
from edge_runtime.model_file.pixels import SCALINGS, PixelScaling, pixels

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
            "help": "what such a model takes for pixels: raw (0..255), unit (0..1),"
            " signed (-1..1), imagenet, or a JSON file with mean and std",
        },
    ),
    (
        ("--model-output", "--output"),
        {"choices": OUTPUTS, "help": "what such a model gives"},
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
)
GIVEN_NAMES = frozenset(name for names, _ in GIVEN_FLAGS for name in names)


def given(args: argparse.Namespace) -> Given:
    """Returns what these flags say."""
    return Given(args.labels, args.pixels, args.model_output, args.colour)


def given_arguments(given: Given, folder: Path) -> list[str]:
    """Returns the arguments of a command that say the same.

    Args:
        given: From ``given``.
        folder: Where files that they name are written, for a scaling without a name
            and for labels.
    """
    arguments = []
    if given.labels is not None:
        path = folder / "labels.txt"
        path.write_text("\n".join(given.labels), encoding="utf-8")
        arguments += ["--labels", str(path)]
    if given.pixels is not None:
        named = [name for name in SCALINGS if SCALINGS[name] == given.pixels]
        arguments += ["--pixels", *(named or [_write_scaling(given.pixels, folder)])]
    if given.output is not None:
        arguments += ["--model-output", given.output]
    if given.colour is not None:
        arguments += ["--colour", given.colour]
    return arguments


def _write_scaling(scaling: PixelScaling, folder: Path) -> str:
    path = folder / "pixels.json"
    pairs = list(zip(scaling.scale, scaling.offset, strict=True))
    document = {
        "image_mean": [-offset / scale for scale, offset in pairs],
        "image_std": [1 / scale for scale, _ in pairs],
        "rescale_factor": 1,
    }
    path.write_text(json.dumps(document))
    return str(path)
