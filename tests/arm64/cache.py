"""Folders that are made once: complete, or not there."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "arm64"
_RECIPE = "made-from"


class UnavailableError(Exception):
    """A part of the machine is missing that the emulation needs; one line."""


def cached(folder: Path, recipe: str, make: Callable[[Path], None]) -> Path:
    """Returns a folder, made anew where it is missing or its recipe has changed.

    Args:
        folder: Where it stands in the end.
        recipe: Everything that its content depends on.
        make: Fills an empty folder. When it fails nothing is left behind.
    """
    digest = hashlib.sha256(recipe.encode()).hexdigest()
    stamp = folder / _RECIPE
    if stamp.exists() and stamp.read_text(encoding="ascii") == digest:
        return folder
    partly = folder.with_name(folder.name + ".partly")
    shutil.rmtree(partly, ignore_errors=True)
    partly.mkdir(parents=True)
    make(partly)
    (partly / _RECIPE).write_text(digest, encoding="ascii")
    shutil.rmtree(folder, ignore_errors=True)
    partly.rename(folder)
    return folder


def need(*programs: str) -> None:
    """Refuses to go on without programs of the machine.

    Raises:
        UnavailableError: One of them is not there.
    """
    lacking = [name for name in programs if shutil.which(name) is None]
    if lacking:
        raise UnavailableError(f"this machine has no {', '.join(lacking)}")


def run(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> str:
    """Returns what a program of the machine prints.

    Raises:
        UnavailableError: It failed; the message holds its last line.
    """
    done = subprocess.run(
        [str(part) for part in command], env=env, capture_output=True, text=True
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        raise UnavailableError(f"{Path(command[0]).name} failed: {said[-1]}")
    return done.stdout
