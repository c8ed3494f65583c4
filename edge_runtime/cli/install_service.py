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
from edge_runtime.systemd import unit
from edge_runtime.utils import argparser as flags

EXAMPLES = """\
examples:
  python -m edge_runtime install-service --config fer-edge.toml      prints it
  sudo python -m edge_runtime install-service --config /etc/fer-edge.toml \\
      --to /etc/systemd/system
  python -m edge_runtime install-service --config fer-edge.toml --user \\
      --to ~/.config/systemd/user
"""
SYSTEM_FOLDER = Path("/etc/systemd/system")
STATE_FOLDER = Path("/var/lib")


def add_install_service(commands: Any) -> None:
    """Adds ``install-service`` to the commands."""
    text = "a systemd unit that runs the camera as a service"
    parser = commands.add_parser(
        "install-service",
        help=text,
        description=text[0].upper() + text[1:] + ". Without --to it is only printed.",
        epilog=EXAMPLES,
    )
    parser.set_defaults(call=install_service)
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
    add("--user", action="store_true", help="a unit of your own, without root")
    add("--name", type=_name, default=unit.NAME, help=f"of the unit ({unit.NAME})")
    add(
        "--account",
        type=_name,
        metavar="USER",
        help="run as this user (default: one that systemd makes up)",
    )
    add(
        "--memory-max",
        type=flags.positive,
        default=unit.MEMORY_MAX_MIB,
        metavar="MIB",
        help=f"end and restart it beyond this ({unit.MEMORY_MAX_MIB})",
    )
    add(
        "--watchdog",
        type=flags.positive,
        default=unit.WATCHDOG_S,
        metavar="S",
        help=f"restart it after so long without a frame ({unit.WATCHDOG_S})",
    )


def install_service(args: argparse.Namespace) -> int:
    """Writes or prints the unit, and says what to type next."""
    if args.user and args.account:
        raise OutputError("expected --user or --account, got both: choose one")
    # Here: it imports what run needs.
    from edge_runtime.cli.preflight import (
        check_config,
        files_read,
        folders_outside,
        hindrances,
        unseen_detector,
    )

    state = None if args.user else STATE_FOLDER / args.name
    found = check_config(args.config, state)
    made = unit.Unit(
        # Not resolved: the interpreter of an environment is a link out of it.
        python=Path(sys.executable).absolute(),
        config=args.config.resolve(),
        name=args.name,
        account=args.account,
        memory_max_mib=args.memory_max,
        watchdog_s=args.watchdog,
        reads=(Path(sys.base_prefix), *files_read(found)),
        writable=() if state is None else folders_outside(found, state),
    )
    notes: list[str] = []
    if not args.user:
        paths = [made.python, made.config, *made.reads]
        notes = hindrances(paths, account=args.account)
        if fetched := unseen_detector(found):
            notes.append(
                f"{fetched}: the service looks for YuNet in its own home, and finds"
                " none: name a copy in /etc, as detector-model in the configuration"
            )
    text = unit.user_unit(made) if args.user else unit.system_unit(made)
    if args.to is None:
        print(text, end="")
        path = Path(f"{made.name}.service")
        print(_next(made, path, notes, user=args.user), file=sys.stderr)
        return 0
    path = args.to / f"{made.name}.service" if args.to.is_dir() else args.to
    _write(path, text, force=args.force)
    print(f"wrote {path}")
    print(_next(made, path, notes, user=args.user))
    return 0


def _write(path: Path, text: str, *, force: bool) -> None:
    if path.suffix != ".service":
        raise OutputError(
            f"expected a folder or a name.service file, got {str(path)!r}"
        )
    if path.exists() and not force:
        raise OutputError(f"{path} exists: replace it with --force")
    if not os.access(path.parent, os.W_OK):
        hint = (
            "run it with sudo, or make a unit of your own with --user"
            if path.parent == SYSTEM_FOLDER
            else "name a folder that exists and is yours"
        )
        raise OutputError(f"cannot write {str(path)!r}: {hint}")
    from edge_runtime.utils.files import write_text

    write_text(path, text)


def _next(made: unit.Unit, path: Path, notes: Sequence[str], *, user: bool) -> str:
    control = "systemctl --user" if user else "sudo systemctl"
    journal = "journalctl --user" if user else "journalctl"
    folder = "~/.config/systemd/user" if user else str(SYSTEM_FOLDER)
    lines = ["", "next:"]
    sudo = "" if user else "sudo "
    if str(path.parent) != folder and path.parent != Path(folder).expanduser():
        lines.append(
            f"  {sudo}cp {path} {folder}/   # what was printed; --to writes it"
        )
    lines += [
        f"  {control} daemon-reload",
        f"  {control} enable --now {made.name}",
        f"  {journal} -u {made.name} -f",
    ]
    if user:
        lines.append("  sudo loginctl enable-linger $USER   # runs without a login")
    lines += [
        "to take it away:",
        f"  {control} disable --now {made.name}; {sudo}rm -r"
        f" {folder}/{made.name}.service*; {control} daemon-reload",
    ]
    lines += [f"note: {one}" for one in notes]
    if made.writable:
        named = ", ".join(map(str, made.writable))
        lines.append(f"note: {named} must exist, and belong to the service's user")
        if made.account is None:
            lines[-1] += ": add --account USER, since one made up by systemd owns none"
    return "\n".join(lines)


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", text):
        raise argparse.ArgumentTypeError(
            f"expected letters, digits, '_', '.' or '-', got {text[:40]!r}"
        )
    return text
