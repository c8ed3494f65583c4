"""The flags that say where answers go, checked before anything is opened."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from edge_runtime import flags
from edge_runtime.errors import OutputError
from edge_runtime.outputs.limits import RecordLimits
from edge_runtime.outputs.opening import open_sinks

__all__ = ["STDOUT", "add_output_arguments", "check_outputs", "open_sinks"]

STDOUT = "-"


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of all outputs."""
    _add_lines(parser)
    _add_pictures(parser)
    _add_mqtt(parser)
    _add_page(parser)


def _add_lines(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("results").add_argument
    add("--json", action="store_true", help="one JSON document per frame, on stdout")
    add(
        "--events",
        nargs="?",
        const=STDOUT,
        metavar="FILE",
        help="one JSON document per event, at the end of FILE (default: on stdout)",
    )
    add(
        "--csv", type=flags.path, metavar="FILE", help="one row per face, at FILE's end"
    )
    add("--force", action="store_true", help="replace existing files")


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    default = RecordLimits()
    add = parser.add_argument_group("pictures").add_argument
    add(
        "--output",
        type=flags.path,
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
        default=default.pictures,
        metavar="N",
        help=f"most pictures kept; the oldest goes first ({default.pictures})",
    )
    add(
        "--record-mb",
        type=flags.positive,
        default=default.megabytes,
        metavar="MB",
        help=f"most megabytes kept ({default.megabytes})",
    )
    add(
        "--privacy",
        choices=("none", "blur"),
        default="none",
        help="blur: faces are made unrecognizable in every picture (none)",
    )


def _add_mqtt(parser: argparse.ArgumentParser) -> None:
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


def _add_page(parser: argparse.ArgumentParser) -> None:
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
        help="its first line lets people in; required with any other HOST",
    )


def check_outputs(args: argparse.Namespace) -> None:
    """Refuses outputs that cannot be wanted, before anything is opened.

    Raises:
        OutputError: With what was expected, what was got and what to do.
    """
    if args.output:
        from edge_runtime.outputs.video import check_output

        check_output(args.output, args.source, force=args.force)
    if args.json and args.events == STDOUT:
        raise OutputError(
            "--json and --events would both write to stdout: give --events FILE, or"
            " take the events out of --json's documents"
        )
    _check_files_differ(args)
    for path in (args.csv, _events_file(args)):
        if path is not None:
            _check_appendable(path)
    _check_only_with("mqtt", args, "mqtt_password_file", "mqtt_ca")
    if args.mqtt:
        _check_broker(args)
    if args.serve:
        from edge_runtime.web.address import parse_address, read_token

        read_token(parse_address(args.serve), args.token_file)
    _check_only_with("serve", args, "token_file")


def _check_broker(args: argparse.Namespace) -> None:
    from edge_runtime.outputs.mqtt_address import parse_broker

    broker = parse_broker(args.mqtt)
    if args.mqtt_ca is not None and not broker.tls:
        raise OutputError(
            "--mqtt-ca does nothing without encryption: give --mqtt mqtts://..."
        )
    if args.mqtt_password_file is not None and not broker.user:
        raise OutputError(
            "--mqtt-password-file does nothing without a user:"
            " give --mqtt mqtts://USER@HOST"
        )


def _events_file(args: argparse.Namespace) -> Path | None:
    return None if args.events in (None, STDOUT) else Path(args.events)


def _check_files_differ(args: argparse.Namespace) -> None:
    paths = [args.output, args.csv, _events_file(args), Path(args.source)]
    resolved = [path.resolve() for path in paths if path is not None]
    if len(set(resolved)) < len(resolved):
        raise OutputError("--source, --output, --csv and --events must be four files")


def _check_appendable(path: Path) -> None:
    if path.is_dir():
        raise OutputError(f"expected a file to write, got the folder {str(path)!r}")
    if not path.parent.is_dir():
        raise OutputError(
            f"expected a file in a folder that exists, got {str(path)!r}:"
            f" run  mkdir -p {str(path.parent)!r}"
        )
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise OutputError(f"no permission to write {str(path)!r}")


def _check_only_with(flag: str, args: argparse.Namespace, *others: str) -> None:
    for other in others:
        if getattr(args, other) is not None and not getattr(args, flag):
            name = other.replace("_", "-")
            raise OutputError(f"--{name} does nothing without --{flag}")
