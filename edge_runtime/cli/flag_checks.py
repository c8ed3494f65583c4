"""Flags of ``run`` that contradict each other, found before anything is opened."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from edge_runtime.cli.output_options import STDOUT
from edge_runtime.errors import OutputError
from edge_runtime.utils.files import real_path


def check_flags(args: argparse.Namespace) -> None:
    """Refuses outputs that cannot work.

    Raises:
        OutputError: With what was expected, what was got and what to do.
    """
    if args.output:
        from edge_runtime.outputs.video import check_output

        check_output(args.output, args.source, force=args.force)
    if args.json and args.events == STDOUT:
        raise OutputError(
            "--json and --events would both write to stdout: give --events FILE, or"
            " read the events in --json's documents"
        )
    if args.privacy == "blur" and args.detect_every not in (None, 1):
        # A new face would be visible in the frames between two detections.
        raise OutputError(
            "--privacy blur needs the detector on every frame, got --detect-every"
            f" {args.detect_every}: leave it out"
        )
    if args.privacy == "blur" and args.collect:
        raise OutputError(
            "--collect keeps what the network sees, which --privacy blur hides: leave"
            " out one of them"
        )
    events = None if args.events in (None, STDOUT) else Path(args.events)
    for path in (args.csv, events):
        if path is not None:
            _check_appendable(path)
    files = [args.output, args.csv, events, Path(args.source)]
    resolved = [real_path(path) for path in files if path is not None]
    if len(set(resolved)) < len(resolved):
        raise OutputError("--source, --output, --csv and --events must be four files")
    _check_requires("mqtt", args, "mqtt_password_file", "mqtt_ca")
    if args.mqtt:
        _check_broker(args)
    _check_requires("serve", args, "token_file")
    if args.serve:
        from edge_runtime.web.address import parse_address, read_token

        read_token(parse_address(args.serve), args.token_file)


def _check_broker(args: argparse.Namespace) -> None:
    from edge_runtime.outputs.mqtt_topics import discovery_prefix, parse_broker

    broker = parse_broker(args.mqtt)
    discovery_prefix(args.mqtt_discovery)
    if args.mqtt_ca is not None and not broker.tls:
        raise OutputError(
            "--mqtt-ca has no effect without encryption: give --mqtt mqtts://..."
        )
    if args.mqtt_password_file is not None and not broker.user:
        raise OutputError(
            "--mqtt-password-file has no effect without a user:"
            " give --mqtt mqtts://USER@HOST"
        )


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


def _check_requires(flag: str, args: argparse.Namespace, *dependents: str) -> None:
    for dependent in dependents:
        if getattr(args, dependent) is not None and not getattr(args, flag):
            name = dependent.replace("_", "-")
            raise OutputError(f"--{name} has no effect without --{flag}")
