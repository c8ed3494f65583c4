"""arm64 Pythons that run here, one program file for each environment and core."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.arm64.cache import ROOT
from tests.arm64.cores import Core
from tests.arm64.debian import TOOLS, unpack
from tests.arm64.wheels import Environment, build_wheel, install

TIMEOUT_S = 1800


@dataclass(frozen=True)
class Board:
    """A Python on an emulated board.

    Attributes:
        environment: Its packages.
        core: Its processor.
        python: The program that runs it: a native script, so that the Python can start
            itself again as a subprocess.
        path: Folders it imports from.
    """

    environment: Environment
    core: Core
    python: Path
    path: tuple[Path, ...]

    @property
    def name(self) -> str:
        """What a report calls it."""
        return f"{self.environment.name} on {self.core.name}"

    def run(
        self,
        *arguments: str | Path,
        folder: Path = ROOT,
        extra: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs Python with arguments and returns how it ended.

        Args:
            arguments: What stands behind ``python``.
            folder: Where it runs.
            extra: Environment variables.
        """
        clean = {
            "PATH": os.defpath,
            "HOME": str(self.python.parents[2]),
            "LANG": "C.UTF-8",
            "PYTHONNOUSERSITE": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": os.pathsep.join(map(str, self.path)),
            **(extra or {}),
        }
        return subprocess.run(
            [str(self.python), *map(str, arguments)],
            cwd=folder,
            env=clean,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )


def make_board(
    environment: Environment, core: Core, path: Sequence[Path], folder: Path
) -> Board:
    """Returns a Python of an environment on a core.

    Args:
        environment: What is installed.
        core: The processor to be.
        path: Folders to import from, as ``wheels.install`` returned them.
        folder: An empty folder: the ``/`` of its programs, links into the userland.
    """
    system = unpack(environment.userland)
    (folder / "usr" / "bin").mkdir(parents=True)
    (folder / "lib").symlink_to(system / "lib")
    (folder / "usr" / "lib").symlink_to(system / "usr" / "lib")
    for name, text in core.files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="ascii")
    guest = system / "usr" / "bin" / f"python{environment.python}"
    python = folder / "usr" / "bin" / "python"
    python.write_text(_script(core, folder, guest), encoding="utf-8")
    python.chmod(0o755)
    return Board(environment, core, python, tuple(path))


def emulator_command() -> list[str]:
    """Returns the words that start qemu-aarch64 with its own libraries."""
    tools = unpack(TOOLS)
    libraries = f"{tools}/lib/x86_64-linux-gnu:{tools}/usr/lib/x86_64-linux-gnu"
    loader = [f"{tools}/lib64/ld-linux-x86-64.so.2", "--library-path", libraries]
    return [*loader, f"{tools}/usr/bin/qemu-aarch64"]


def _script(core: Core, folder: Path, guest: Path) -> str:
    words = shlex.join([*emulator_command(), "-cpu", core.name, "-L", str(folder)])
    # -0: Python finds its library, and itself for a subprocess, by its name.
    return f'#!/bin/sh\nexec {words} -0 "$0" {shlex.quote(str(guest))} "$@"\n'


def make_boards(
    wanted: Sequence[tuple[Environment, Core]], folder: Path
) -> dict[tuple[str, str], Board]:
    """Returns boards with the project's wheel installed, by environment and core name.

    Args:
        wanted: Which.
        folder: An empty folder for what is made anew each time.

    Raises:
        UnavailableError: What they need is neither cached nor can it be fetched.
    """
    wheel = build_wheel(folder / "wheel")
    paths = {
        environment.name: install(environment, wheel, folder / environment.name / "own")
        for environment in dict.fromkeys(environment for environment, _ in wanted)
    }
    return {
        (environment.name, core.name): make_board(
            environment,
            core,
            paths[environment.name],
            folder / environment.name / core.name,
        )
        for environment, core in wanted
    }
