"""The flags of outputs: results, pictures, MQTT and the web page."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from edge_runtime.model_file.metadata import OUTPUTS
from edge_runtime.outputs.base import CollectLimits, RecordLimits
from edge_runtime.utils import flags

STDOUT = "-"


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of all outputs."""
    _add_result_options(parser)
    _add_picture_options(parser)
    _add_collect_options(parser)
    _add_mqtt_options(parser)
    _add_page_options(parser)


def _add_result_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("results").add_argument
    add("--json", action="store_true", help="one JSON document per frame, on stdout")
    add(
        "--events",
        nargs="?",
        const=STDOUT,
        metavar="FILE",
        help="append one JSON document per event to FILE (default: stdout)",
    )
    add("--csv", type=flags.path, metavar="FILE", help="append one row per face")
    add("--force", action="store_true", help="replace existing files")


class _OutputAction(argparse.Action):
    """Stores the file of ``--output``; other commands call ``--model-output`` so."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Stores a file, or what the model gives."""
        dest = "model_output" if str(values) in OUTPUTS else self.dest
        setattr(namespace, dest, str(values) if dest != self.dest else values)


def _add_picture_options(parser: argparse.ArgumentParser) -> None:
    default = RecordLimits()
    add = parser.add_argument_group("pictures").add_argument
    add(
        "--output",
        type=flags.path,
        action=_OutputAction,
        metavar="FILE",
        help="annotated .mp4, .avi, .png or .jpg",
    )
    add("--display", action="store_true", help="show a window (q ends)")
    add(
        "--record",
        type=flags.path,
        metavar="DIR",
        help="keep pictures of events and, now and then, of faces",
    )
    add(
        "--record-most",
        type=flags.positive,
        default=default.max_images,
        metavar="N",
        help=f"keep at most N pictures; the oldest goes first ({default.max_images})",
    )
    add(
        "--record-mb",
        type=flags.positive,
        default=default.max_megabytes,
        metavar="MB",
        help=f"keep at most this many megabytes ({default.max_megabytes})",
    )
    add(
        "--privacy",
        choices=("none", "blur"),
        default="none",
        help="blur: make faces unrecognizable in every picture (none)",
    )


def _add_collect_options(parser: argparse.ArgumentParser) -> None:
    default = CollectLimits()
    add = parser.add_argument_group("collecting, to train on").add_argument
    add(
        "--collect",
        type=flags.path,
        metavar="DIR",
        help="keep crops that the model is unsure of, and some at random, with its"
        " answers: people label them at /review of --serve; then  collect export",
    )
    add(
        "--collect-every",
        type=partial(flags.number, low=0.1, high=86400),
        default=default.every_s,
        metavar="S",
        help=f"at most one crop in S seconds of the source ({default.every_s:g})",
    )
    add(
        "--collect-random",
        type=partial(flags.number, low=0, high=1),
        default=default.random_frac,
        metavar="FRAC",
        help=f"share of them taken at random, 0 to 1 ({default.random_frac:g})",
    )
    add(
        "--collect-most",
        type=flags.positive,
        default=default.max_crops,
        metavar="N",
        help=f"keep at most N crops; the least useful goes first ({default.max_crops})",
    )
    add(
        "--collect-mb",
        type=flags.positive,
        default=default.max_megabytes,
        metavar="MB",
        help=f"keep at most this many megabytes ({default.max_megabytes})",
    )
    add(
        "--collect-days",
        type=partial(flags.number, low=0.01, high=36500),
        default=default.max_days,
        metavar="DAYS",
        help=f"keep nothing for longer, labelled or not ({default.max_days:g})",
    )


def _add_mqtt_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("MQTT").add_argument
    add("--mqtt", metavar="URL", help="mqtt://[USER@]HOST[:PORT][/PREFIX], or mqtts://")
    add(
        "--mqtt-password-file",
        type=flags.path,
        metavar="FILE",
        help="its first line is the password",
    )
    add(
        "--mqtt-ca",
        type=flags.path,
        metavar="FILE",
        help="trust these certificates (PEM) instead of the system's",
    )
    add(
        "--mqtt-discovery",
        default="homeassistant",
        metavar="PREFIX",
        help="Home Assistant's prefix; none: do not announce (homeassistant)",
    )


def _add_page_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("web page").add_argument
    add(
        "--serve",
        metavar="[HOST:]PORT",
        help="web page, /metrics, /healthz, /api/state (HOST: 127.0.0.1)",
    )
    add(
        "--token-file",
        type=flags.path,
        metavar="FILE",
        help="its first line is the access token; required with any other HOST",
    )
