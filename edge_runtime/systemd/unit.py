"""A systemd unit for a camera service, hardened (man systemd.exec, man systemd.unit).

What it may do: read the installation and its configuration, use cameras, talk to the
network, write below its own state folder. Left out on purpose:

- ``MemoryDenyWriteExecute``: closures that libffi makes for camera libraries need it.
- ``PrivateDevices``, ``PrivateUsers``: they take the cameras and the group away.
- ``PrivateNetwork``: streams, MQTT and the page need the network.

``OOMPolicy=continue``: a new model is tried in a process of its own, which the kernel
kills first where memory is short; that is no reason to stop the service.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import ConfigError
from edge_runtime.untrusted import refuse_control

NAME = "fer-edge"
# Long enough for a stream that answers slowly to be opened (30 s in FFmpeg).
WATCHDOG_S = 60
START_TIMEOUT_S = 180
MEMORY_MAX_MIB = 400
# systemd never gives up: a camera may be plugged in tomorrow. With this pause, five
# starts in a minute can only be typed.
RESTART_S = 15
START_LIMIT = (60, 5)
# Closed by ``ProtectHome``, for root too.
HOMES = (Path("/home"), Path("/root"), Path("/run/user"))


@dataclass(frozen=True)
class Unit:
    """The settings of a unit.

    Attributes:
        python: The interpreter of the installation, absolute.
        config: The configuration file, absolute.
        name: Of the unit and of its folder below ``/var/lib``.
        account: An existing user; None lets systemd create one (``DynamicUser``).
        memory_max_mib: Beyond it the kernel ends the service; systemd restarts it.
        watchdog_s: Seconds without a frame or an attempt to reopen the camera after
            which it is restarted.
        reads: Files and folders that it reads, absolute.
        writable: Folders outside its own that it writes to, absolute.
    """

    python: Path
    config: Path
    name: str = NAME
    account: str | None = None
    memory_max_mib: int = MEMORY_MAX_MIB
    watchdog_s: int = WATCHDOG_S
    reads: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Refuses what would be more than a value in the unit.

        Raises:
            ConfigError: A line break, for example, would begin a setting of its own,
                and root installs this.
        """
        paths = (self.python, self.config, *self.reads, *self.writable)
        for text in (self.name, self.account or "", *map(str, paths)):
            refuse_control(text, "a value of a systemd unit", ConfigError)


def system_unit(unit: Unit) -> str:
    """Returns a unit for ``/etc/systemd/system``."""
    account = f"User={unit.account}" if unit.account else "DynamicUser=yes"
    paths = (unit.python, unit.config, *unit.reads, *unit.writable)
    below_home = any(lies_in(path, HOMES) for path in paths)
    return (
        _HEAD
        + _service(unit)
        + f"""\
{_state(unit)}
# Account
{account}
SupplementaryGroups=video
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
UMask=0077

# File system
ProtectSystem=strict
{_writable(unit)}ProtectHome={"read-only" if below_home else "yes"}
PrivateTmp=yes
ProtectProc=invisible
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectClock=yes
ProtectHostname=yes
RemoveIPC=yes

# Devices: cameras, their memory, and the firmware for power and heat
DevicePolicy=closed
DeviceAllow=char-video4linux rw
DeviceAllow=char-media rw
DeviceAllow=char-dma_heap rw
DeviceAllow=/dev/vcio rw
DeviceAllow=/dev/vchiq rw

# Kernel interfaces
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""
    )


def lies_in(path: Path, folders: Sequence[Path]) -> bool:
    """Returns whether a path, or the target of a link, is in one of the folders."""
    return any(
        candidate.is_relative_to(folder)
        for candidate in (path, Path(os.path.realpath(path)))
        for folder in folders
    )


def user_unit(unit: Unit) -> str:
    """Returns a unit for ``~/.config/systemd/user``: no root, less protection.

    A user's systemd cannot take devices or folders away without user namespaces, so
    most of the hardening is the account's own.
    """
    return (
        _HEAD
        + _service(unit)
        + f"""\
{_state(unit)}NoNewPrivileges=yes
RestrictRealtime=yes
LockPersonality=yes
SystemCallArchitectures=native
UMask=0077

[Install]
WantedBy=default.target
"""
    )


_HEAD = f"""\
# Written by  python -m edge_runtime install-service
[Unit]
Description=Camera to labels (fer-edge)
Documentation=man:systemd.service(5)
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec={START_LIMIT[0]}
StartLimitBurst={START_LIMIT[1]}

"""


def _service(unit: Unit) -> str:
    command = " ".join(
        _quoted(word)
        for word in (
            str(unit.python),
            *("-m", "edge_runtime", "run", "--config", str(unit.config)),
        )
    )
    return f"""\
[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
Environment=PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
Restart=always
RestartSec={RESTART_S}
WatchdogSec={unit.watchdog_s}
TimeoutStartSec={START_TIMEOUT_S}
TimeoutStopSec=10
"""


def _state(unit: Unit) -> str:
    # Results and events on stdout would fill the journal and wear out the card.
    return f"""\
StandardOutput=null
StateDirectory={unit.name} {unit.name}/models
WorkingDirectory=%S/{unit.name}
MemoryMax={unit.memory_max_mib}M
OOMPolicy=continue
TasksMax=64
"""


def _writable(unit: Unit) -> str:
    # "-": a missing disk must not prevent the service from starting.
    return "".join(
        f"ReadWritePaths={_quoted(f'-{path}', variables=False)}\n"
        for path in unit.writable
    )


def _quoted(word: str, *, variables: bool = True) -> str:
    """Returns a word for a command line of systemd (man systemd.service, QUOTING)."""
    # Special characters there: %, $, quotes and backslashes.
    escaped = word.replace("\\", "\\\\").replace("%", "%%")
    if variables:  # in commands only
        escaped = escaped.replace("$", "$$")
    if any(character in word for character in " \t\"'\\;"):
        return '"' + escaped.replace('"', '\\"') + '"'
    return escaped
