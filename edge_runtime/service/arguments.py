"""The flags of ``run`` that make it a service."""

from __future__ import annotations

import argparse

from edge_runtime import flags
from edge_runtime.service.limits import Limits

_DEFAULTS = Limits()


def add_service_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--config``, ``--print-config`` and the flags of the model update.

    Args:
        parser: Of the command ``run``; it is remembered in the parsed arguments as
            ``command_parser``, for the configuration file.
    """
    parser.set_defaults(command_parser=parser)
    _add_configuration(parser)
    _add_model_update(parser)


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("configuration").add_argument
    add(
        "--config",
        type=flags.path,
        metavar="FILE",
        help="TOML file whose keys are the names of these flags; what is typed here"
        " counts more",
    )
    add(
        "--print-config",
        action="store_true",
        help="write all values as such a file to stdout, and end",
    )


def _add_model_update(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("model update").add_argument
    add(
        "--watch",
        type=flags.path,
        metavar="DIR",
        help="take a better model from here while running: verified, compared with"
        " the present one, swapped in, rolled back when it errs",
    )
    add(
        "--watch-frames",
        type=flags.positive,
        default=_DEFAULTS.frames,
        metavar="N",
        help="frames with faces that both models answer before the swap, and that the"
        f" old one is kept after it (default: {_DEFAULTS.frames})",
    )
    add(
        "--watch-agreement",
        type=_fraction,
        default=_DEFAULTS.least_agreement,
        metavar="FRAC",
        help="least share of faces with the same answer, 0 to 1"
        f" (default: {_DEFAULTS.least_agreement:g})",
    )
    add(
        "--watch-slowdown",
        type=_factor,
        default=_DEFAULTS.most_slowdown,
        metavar="X",
        help="most time it may take, in times the present model's"
        f" (default: {_DEFAULTS.most_slowdown:g})",
    )


def _fraction(text: str) -> float:
    return flags.number(text, 0.0, 1.0)


def _factor(text: str) -> float:
    return flags.number(text, 1.0, 1000.0)
