"""``python -m edge_runtime install-service``: a systemd unit that runs the camera."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_runtime.errors import OutputError
from edge_runtime.systemd.unit import (
    MEMORY_MAX_MIB,
    NAME,
    WATCHDOG_S,
    Unit,
    system_unit,
    user_unit,
)
from edge_runtime.utils import flags
from edge_runtime.utils.argparser import add_command
from edge_runtime.utils.files import real_path

EXAMPLES = """\
examples:
  python -m edge_runtime install-service --config fer-edge.toml      prints it
  sudo python -m edge_runtime install-service --config /etc/fer-edge.toml \\
      --to /etc/systemd/system
  python -m edge_runtime install-service --config fer-edge.toml --user \\
      --to ~/.config/systemd/user

Without --to the unit is only printed.
"""
SYSTEM_FOLDER = Path("/etc/systemd/system")
STATE_FOLDER = Path("/var/lib")


def add_install_service(commands: Any) -> None:
    """Adds ``install-service`` to the commands."""
    text = "write a systemd unit that runs the camera as a service"
    parser = add_command(commands, "install-service", install_service, text, EXAMPLES)
    add = parser.add_argument
    add(
        "--config",
        type=flags.path,
        required=True,
        metavar="FILE",
        help="what the service runs with: the flags of run, in TOML",
    )
    add(
        "--to",
        type=flags.path,
        metavar="PATH",
        help="unit file or folder to write, such as /etc/systemd/system (needs root)",
    )
    add("--force", action="store_true", help="replace an existing unit file")
    add("--user", action="store_true", help="a unit for your own account, without root")
    add("--name", type=_name, default=NAME, help=f"name of the unit ({NAME})")
    add(
        "--account",
        type=_name,
        metavar="USER",
        help="run as this user (default: one that systemd creates)",
    )
    add(
        "--memory-max",
        type=flags.positive,
        default=MEMORY_MAX_MIB,
        metavar="MIB",
        help=f"restart it when it uses more memory than this ({MEMORY_MAX_MIB})",
    )
    add(
        "--watchdog",
        type=flags.positive,
        default=WATCHDOG_S,
        metavar="S",
        help=f"restart it after this many seconds without a frame ({WATCHDOG_S})",
    )


def install_service(args: argparse.Namespace) -> int:
    """Writes or prints the unit, and the commands to type next."""
    if args.user and args.account:
        raise OutputError("expected --user or --account, got both: choose one")
    # Here: it imports what run needs.
    from edge_runtime.cli.service_config import (
        check_service_config,
        input_paths,
        output_folders,
    )

    state = None if args.user else STATE_FOLDER / args.name
    config = check_service_config(args.config, state)
    unit = Unit(
        # Not resolved: the interpreter of an environment is a link to another folder.
        python=Path(sys.executable).absolute(),
        config=real_path(args.config),
        name=args.name,
        account=args.account,
        memory_max_mib=args.memory_max,
        watchdog_s=args.watchdog,
        reads=(Path(sys.base_prefix), *input_paths(config)),
        writable=() if state is None else output_folders(config, state),
    )
    notes = [] if args.user else _notes(unit, config)
    text = user_unit(unit) if args.user else system_unit(unit)
    if args.to is None:
        print(text, end="")
        path = Path(f"{unit.name}.service")
        print(_next_steps(unit, path, notes, user=args.user), file=sys.stderr)
        return 0
    path = args.to / f"{unit.name}.service" if args.to.is_dir() else args.to
    _write(path, text, force=args.force)
    print(f"wrote {path}")
    print(_next_steps(unit, path, notes, user=args.user))
    return 0


def _notes(unit: Unit, config: argparse.Namespace) -> list[str]:
    """Returns what the account of a system service does not find or may not read."""
    from edge_runtime.cli.service_config import (
        undiscoverable_detector,
        unreadable_paths,
    )

    paths = [unit.python, unit.config, *unit.reads]
    notes = unreadable_paths(paths, account=unit.account)
    if detector := undiscoverable_detector(config):
        notes.append(
            f"{detector}: the service looks for YuNet in its own home and does not find"
            " it: copy it to /etc and name it as detector-model in the configuration"
        )
    return notes


def _write(path: Path, text: str, *, force: bool) -> None:
    if path.suffix != ".service":
        raise OutputError(
            f"expected a folder or a name.service file, got {str(path)!r}"
        )
    if path.exists() and not force:
        raise OutputError(f"{path} exists: replace it with --force")
    if not os.access(path.parent, os.W_OK):
        hint = (
            "run it with sudo, or write a unit for your own account with --user"
            if path.parent == SYSTEM_FOLDER
            else "name a folder that exists and is yours"
        )
        raise OutputError(f"cannot write {str(path)!r}: {hint}")
    from edge_runtime.utils.files import write_text

    write_text(path, text)


def _next_steps(unit: Unit, path: Path, notes: Sequence[str], *, user: bool) -> str:
    sudo = "" if user else "sudo "
    control = "systemctl --user" if user else "sudo systemctl"
    journal = "journalctl --user" if user else "journalctl"
    folder = "~/.config/systemd/user" if user else str(SYSTEM_FOLDER)
    lines = ["", "next:"]
    if path.parent not in (Path(folder), Path(folder).expanduser()):
        lines.append(f"  {sudo}cp {path} {folder}/   # the text above; --to writes it")
    lines += [
        f"  {control} daemon-reload",
        f"  {control} enable --now {unit.name}",
        f"  {journal} -u {unit.name} -f",
    ]
    if user:
        lines.append("  sudo loginctl enable-linger $USER   # runs without a login")
    lines += [
        "to remove it:",
        f"  {control} disable --now {unit.name}; {sudo}rm -r"
        f" {folder}/{unit.name}.service*; {control} daemon-reload",
    ]
    lines += [f"note: {note}" for note in notes]
    if unit.writable:
        folders = ", ".join(map(str, unit.writable))
        hint = ""
        if unit.account is None:
            hint = ": add --account USER, since a user that systemd creates owns none"
        lines.append(
            f"note: {folders} must exist and belong to the service's user{hint}"
        )
    return "\n".join(lines)


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", text):
        raise argparse.ArgumentTypeError(
            f"expected letters, digits, '_', '.' or '-', got {text[:40]!r}"
        )
    return text
