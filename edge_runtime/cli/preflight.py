"""Whether a service could start with its configuration, asked before it is installed.

With the functions that ``run`` uses. Left out is what nobody can know yet: cameras,
brokers and screens, credentials that systemd hands over, and the service's own folder
where it is closed to who asks.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from edge_runtime.cli.config_file import apply_config
from edge_runtime.cli.flag_checks import check_flags
from edge_runtime.cli.open_model import check_watched, load_classifier
from edge_runtime.cli.run import add_run
from edge_runtime.cli.run_options import STDOUT
from edge_runtime.cli.tuning_file import apply_tuning
from edge_runtime.detection.base import DETECT_WIDTH_PX
from edge_runtime.detection.factory import fetched_model, open_detector
from edge_runtime.errors import ConfigError
from edge_runtime.inference.classifier import released_model
from edge_runtime.systemd.unit import HOMES, lies_in
from edge_runtime.utils.argparser import CommandLine
from edge_runtime.utils.files import read_secret
from edge_runtime.web.address import parse_address

CREDENTIALS = Path("/run/credentials")
MODELS = "models"  # the folder that the unit makes
# Each service has its own there, and nothing of it lasts.
_PRIVATE = (Path("/tmp"), Path("/var/tmp"))
_INPUTS = (
    *("model", "require_signature", "detector_model", "watch"),
    *("token_file", "mqtt_password_file", "mqtt_ca"),
)
_OUTPUTS = ("csv", "events", "output", "record")


def check_config(path: Path, state: Path | None) -> argparse.Namespace:
    """Returns what ``run`` would be given by a configuration file.

    Args:
        path: The file.
        state: The folder in which the service will run; None where that is not known:
            relative paths are then not looked at.

    Raises:
        FerEdgeError: ``run`` would refuse it.
    """
    commands = CommandLine().add_subparsers()
    add_run(commands)
    apply_config(commands.choices["run"], path)
    args: argparse.Namespace = commands.choices["run"].parse_args([])
    _check_restarts(args, path)
    seen = argparse.Namespace(**vars(args))
    unknown = _seen_by_the_service(seen, state)
    if "token_file" in unknown and seen.serve:
        parse_address(seen.serve)
        seen.serve = None
    check_flags(seen)
    if seen.mqtt_password_file:
        read_secret(seen.mqtt_password_file, "--mqtt-password-file")
    if "model" not in unknown:
        apply_tuning(seen, seen.model or released_model())
        load_classifier(seen)
    if seen.watch:
        check_watched(seen.watch)
    width = seen.detect_width or DETECT_WIDTH_PX
    open_detector(seen.faces, seen.detector_model, width_px=width)
    return args


def _check_restarts(args: argparse.Namespace, path: Path) -> None:
    """Refuses what works once, but not at the next start."""
    if args.output:
        raise ConfigError(
            f"{path}: output: at its next start a service would find the file there,"
            ' and end: give  record = "DIR"  for pictures'
        )
    if args.force:
        raise ConfigError(
            f"{path}: force: each start of a service would empty csv and events: leave"
            " it out"
        )


def files_read(args: argparse.Namespace) -> tuple[Path, ...]:
    """Returns what a service reads outside its own folder, absolute.

    Args:
        args: As ``check_config`` returned them.
    """
    paths = (_path(args, name) for name in _INPUTS)
    return tuple(path for path in paths if path is not None and path.is_absolute())


def hindrances(paths: Sequence[Path], *, account: str | None) -> list[str]:
    """Returns why a service may not be able to read some paths, a sentence for each.

    Args:
        paths: Absolute; links are followed.
        account: The user that it runs as; None where systemd makes one up.
    """
    found = []
    for path in dict.fromkeys(paths):
        there = path.resolve()
        named = str(path) if there == path else f"{path} (a link to {there})"
        if lies_in(path, _PRIVATE):
            found.append(
                f"{named}: the service has a /tmp of its own: move it (to"
                " /opt or /etc, say)"
            )
        elif account is None and lies_in(path, HOMES):
            found.append(
                f"{named}: the service's own user may not enter homes: move it (to"
                " /opt or /etc, say), or add --account USER"
            )
        elif account != "root" and lies_in(path, [Path("/root")]):
            found.append(f"{named}: {account} may not enter /root: move it")
    return found


def unseen_detector(args: argparse.Namespace) -> Path | None:
    """Returns YuNet's file that was fetched by who asks, and the service will not find.

    Args:
        args: As ``check_config`` returned them.
    """
    wanted = args.faces in ("auto", "yunet") and args.detector_model is None
    return fetched_model() if wanted else None


def folders_outside(args: argparse.Namespace, state: Path) -> tuple[Path, ...]:
    """Returns the folders that a service writes to, but for its own and ``/tmp``.

    Args:
        args: As ``check_config`` returned them.
        state: The service's own folder, absolute.
    """
    folders: list[Path] = []
    for name in (*_OUTPUTS, "watch"):
        path = _path(args, name)
        if path is None:
            continue
        folder = state / path
        if name not in ("record", "watch"):
            folder = folder.parent
        own = any(folder.is_relative_to(one) for one in (state, *_PRIVATE))
        if not own and folder not in folders:
            folders.append(folder)
    return tuple(folders)


def _seen_by_the_service(args: argparse.Namespace, state: Path | None) -> set[str]:
    """Makes paths absolute as in the service; returns and clears the unknown ones."""
    unknown = set()
    for name in (*_INPUTS, *_OUTPUTS):
        path = _path(args, name)
        if path is None:
            continue
        if state is not None:
            path = state / path
        if _known(path, state, writes=name in _OUTPUTS):
            setattr(args, name, str(path) if name == "events" else path)
        else:
            setattr(args, name, None)
            unknown.add(name)
    return unknown


def _known(path: Path, state: Path | None, *, writes: bool) -> bool:
    """Returns whether what is there now tells what the service will find."""
    if not path.is_absolute() or path.is_relative_to(CREDENTIALS):
        return False
    if state is None:
        return True
    if writes:  # who asks is another user, unless it is root
        return os.geteuid() == 0 and not path.is_relative_to(state)
    if not path.is_relative_to(state):
        return True
    if os.path.lexists(state):
        return os.access(state, os.R_OK | os.X_OK)
    return path != state / MODELS


def _path(args: argparse.Namespace, name: str) -> Path | None:
    value = getattr(args, name)
    return None if value in (None, STDOUT) else Path(value)
