"""Checks a service's configuration before the service is installed.

It calls the functions that ``run`` calls. Not checked is what cannot be known yet:
cameras, brokers and screens, credentials that systemd provides, and the service's own
folder where the caller may not read it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from edge_runtime.cli.config_file import flag_values, read_config
from edge_runtime.cli.flag_checks import check_flags
from edge_runtime.cli.open_model import check_watched, load_classifier
from edge_runtime.cli.output_options import STDOUT
from edge_runtime.cli.region_options import regions_of
from edge_runtime.cli.run import add_run
from edge_runtime.cli.tuning_file import apply_tuning
from edge_runtime.detection.base import DETECT_WIDTH_PX
from edge_runtime.detection.factory import fetched_model, open_detector, packaged_model
from edge_runtime.errors import ConfigError
from edge_runtime.inference.classifier import model_path
from edge_runtime.model_file.released import released_models
from edge_runtime.systemd.unit import HOMES, lies_in
from edge_runtime.utils.argparser import CommandLine
from edge_runtime.utils.files import read_secret, real_path
from edge_runtime.web.address import parse_address

CREDENTIALS = Path("/run/credentials")
MODELS = "models"  # the folder that the unit makes
# Each service has its own, and nothing in them lasts.
_PRIVATE = (Path("/tmp"), Path("/var/tmp"))
_INPUTS = (
    *("model", "require_signature", "detector_model", "watch"),
    *("token_file", "mqtt_password_file", "mqtt_ca"),
)
_OUTPUTS = ("csv", "events", "output", "record", "collect")
_FOLDERS = ("record", "collect", "watch")


def check_service_config(path: Path, state: Path | None) -> argparse.Namespace:
    """Returns the arguments that a configuration file gives to ``run``.

    Args:
        path: The file.
        state: The folder in which the service will run; None where it is not known:
            relative paths are not checked then.

    Raises:
        FerEdgeError: ``run`` would refuse it.
    """
    commands = CommandLine().add_subparsers()
    add_run(commands)
    parser = commands.choices["run"]
    parser.set_defaults(**flag_values(parser, path))
    args: argparse.Namespace = parser.parse_args([])
    _check_restarts(args, path)
    _check_read_files(path)
    checked = argparse.Namespace(**vars(args))
    unknown = _resolve_paths(checked, state)
    if "token_file" in unknown and checked.serve:
        parse_address(checked.serve)
        checked.serve = None
    check_flags(checked)
    regions_of(checked)
    if checked.mqtt_password_file:
        read_secret(checked.mqtt_password_file, "--mqtt-password-file")
    if "model" not in unknown:
        apply_tuning(checked, model_path(checked.model))
        load_classifier(checked)
    if checked.watch:
        check_watched(checked.watch)
    width_px = checked.detect_width or DETECT_WIDTH_PX
    open_detector(checked.faces, checked.detector_model, width_px=width_px)
    return args


def _check_restarts(args: argparse.Namespace, path: Path) -> None:
    """Refuses what works once, but not at the next start."""
    if args.output:
        raise ConfigError(
            f"{path}: output: at its next start the service would find the file, and"
            ' end: give  record = "DIR"  to keep pictures'
        )
    if args.force:
        raise ConfigError(
            f"{path}: force: each start of the service would empty csv and events:"
            " leave it out"
        )


def _check_read_files(path: Path) -> None:
    """Refuses files of flags that the service would look for in its own folder."""
    values = read_config(path)
    for key in ("labels", "pixels"):
        value = str(values.get(key, ""))
        relative = not Path(value).is_absolute()
        if relative and Path(value).is_file():
            raise ConfigError(
                f"{path}: {key}: the service runs in another folder: expected an"
                f" absolute path, got {value!r}"
            )


def _resolve_paths(args: argparse.Namespace, state: Path | None) -> set[str]:
    """Makes paths absolute as in the service; returns and clears the unknown ones."""
    unknown = set()
    for name in (*_INPUTS, *_OUTPUTS):
        path = _path(args, name)
        if path is None:
            continue
        if state is not None:
            path = state / path
        if _is_known(path, state, output=name in _OUTPUTS):
            setattr(args, name, str(path) if name == "events" else path)
        else:
            setattr(args, name, None)
            unknown.add(name)
    return unknown


def _is_known(path: Path, state: Path | None, *, output: bool) -> bool:
    """Returns whether the service will find at a path what is there now."""
    if not path.is_absolute() or path.is_relative_to(CREDENTIALS):
        return False
    if state is None:
        return True
    if output:  # the caller is another user, unless it is root
        return os.geteuid() == 0 and not path.is_relative_to(state)
    if not path.is_relative_to(state):
        return True
    if os.path.lexists(state):
        return os.access(state, os.R_OK | os.X_OK)
    return path != state / MODELS


def input_paths(args: argparse.Namespace) -> tuple[Path, ...]:
    """Returns the absolute paths that a service reads."""
    paths = (_path(args, name) for name in _INPUTS)
    return tuple(path for path in paths if path is not None and path.is_absolute())


def output_folders(args: argparse.Namespace, state: Path) -> tuple[Path, ...]:
    """Returns the folders that a service writes to, beside ``/tmp`` and its own."""
    folders = []
    for name in (*_OUTPUTS, "watch"):
        if path := _path(args, name):
            folder = state / path
            folders.append(folder if name in _FOLDERS else folder.parent)
    return tuple(
        folder
        for folder in dict.fromkeys(folders)
        if not any(folder.is_relative_to(own) for own in (state, *_PRIVATE))
    )


def unreadable_paths(paths: Sequence[Path], *, account: str | None) -> list[str]:
    """Returns why a service may not be able to read some paths, one sentence each.

    Paths are absolute; without an account systemd creates one.
    """
    notes = []
    for path in dict.fromkeys(paths):
        target = real_path(path)
        name = str(path) if target == path else f"{path} (a link to {target})"
        if lies_in(path, _PRIVATE):
            notes.append(
                f"{name}: the service has a /tmp of its own: move it (to /opt or /etc,"
                " for example)"
            )
        elif account is None and lies_in(path, HOMES):
            notes.append(
                f"{name}: the service's own user may not enter home folders: move it"
                " (to /opt or /etc, for example), or add --account USER"
            )
        elif account != "root" and lies_in(path, [Path("/root")]):
            notes.append(f"{name}: {account} may not enter /root: move it")
    return notes


def undiscoverable_detector(args: argparse.Namespace) -> Path | None:
    """Returns YuNet's file where only the caller's home has it, not the service's."""
    discovers = args.faces in ("auto", "yunet") and args.detector_model is None
    return fetched_model() if discovers and packaged_model() is None else None


def _path(args: argparse.Namespace, name: str) -> Path | None:
    value = getattr(args, name)
    if name == "model" and str(value) in released_models():
        return None
    return None if value in (None, STDOUT) else Path(value)
