"""The project's wheel and the arm64 wheels it asks for, installed without running pip
on arm64."""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.arm64.cache import CACHE, ROOT, cached, run
from tests.arm64.debian import BOOKWORM, TRIXIE, Userland

# What the wheels of both userlands may ask of glibc; pip does not infer older ones.
GLIBC = ("2_36", "2_34", "2_31", "2_28", "2_27", "2_17")
BUILD_TOOL = "setuptools>=77"  # as in pyproject.toml
TEST_TOOLS = ("pytest", "pytest-timeout", "hypothesis")


@dataclass(frozen=True)
class Environment:
    """A Python environment of a board.

    Attributes:
        name: Name of its folder.
        userland: The system it stands on.
        python: Version of that system's Python.
        extras: Extras of the project's wheel.
        constraints: File under ``constraints/`` with the exact versions.
        backend: The library that runs its TFLite files.
    """

    name: str
    userland: Userland
    python: str
    extras: str
    constraints: str
    backend: str

    @property
    def platform(self) -> list[str]:
        """pip's arguments for the wheels of this environment."""
        short = "cp" + self.python.replace(".", "")
        abis = [part for abi in (short, "abi3", "none") for part in ("--abi", abi)]
        tags = [f"manylinux_{version}_aarch64" for version in GLIBC]
        platforms = [
            part
            for tag in (*tags, "manylinux2014_aarch64")
            for part in ("--platform", tag)
        ]
        version = ["--python-version", self.python, "--implementation", "cp"]
        return [*version, *abis, *platforms, "--only-binary=:all:"]


LITERT = Environment(
    "litert", BOOKWORM, "3.11", "litert,onnx", "litert.txt", "ai-edge-litert"
)
TFLITE_RUNTIME = Environment(
    "tflite-runtime",
    BOOKWORM,
    "3.11",
    "tflite-runtime",
    "tflite-runtime.txt",
    "tflite-runtime",
)
PYTHON_313 = Environment(
    "python-3.13", TRIXIE, "3.13", "litert,onnx", "litert.txt", "ai-edge-litert"
)


def build_wheel(folder: Path) -> Path:
    """Returns the project's wheel, built in a folder from a copy of the checkout."""
    tool = cached(CACHE / "build-tool", BUILD_TOOL, _download_build_tool)
    source = folder / "source"
    source.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    skip = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(ROOT / "edge_runtime", source / "edge_runtime", ignore=skip)
    _pip("wheel", "--no-deps", "--wheel-dir", folder, source, found_in=tool)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(environment: Environment, wheel: Path, target: Path) -> list[Path]:
    """Installs the project's wheel and what it depends on; offline when cached.

    Args:
        environment: For which Python, with which extras.
        wheel: The project's own.
        target: An empty folder for the project's own package.

    Returns:
        The folders that belong on the path of that Python, the project's first.
    """
    wishes = [f"{wheel}[{environment.extras}]", *TEST_TOOLS]
    limits = ROOT / "constraints" / environment.constraints
    recipe = "\n".join(
        [
            repr(environment),
            *_requirements(wheel),
            *TEST_TOOLS,
            limits.read_text(encoding="utf-8"),
        ]
    )

    def fill(folder: Path) -> None:
        wheels = folder / "wheels"
        _pip("download", *environment.platform, "-c", limits, "-d", wheels, *wishes)
        into = ["--no-compile", "--target", str(folder / "site")]
        _pip("install", *environment.platform, *into, *wishes, found_in=wheels)
        shutil.rmtree(wheels)
        for own in (folder / "site").glob("*edge*"):  # comes anew each time, as below
            if own.name == "edge_runtime" or own.name.startswith("fer_edge-"):
                shutil.rmtree(own)

    packages = cached(CACHE / "site" / environment.name, recipe, fill)
    _pip("install", "--no-deps", "--target", target, wheel, found_in=wheel.parent)
    return [target, packages / "site"]


def _requirements(wheel: Path) -> list[str]:
    """Returns the lines of a wheel's metadata that say what it depends on."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [one for one in archive.namelist() if one.endswith("/METADATA")]
        lines = archive.read(name).decode().splitlines()
    return [line for line in lines if line.startswith("Requires-Dist:")]


def _download_build_tool(folder: Path) -> None:
    _pip("download", "--no-deps", "-d", folder, BUILD_TOOL)


def _pip(*arguments: str | Path, found_in: Path | None = None) -> None:
    """Runs pip; with ``found_in`` it sees that folder and nothing else."""
    env = dict(os.environ)
    if found_in is not None:
        env = {key: value for key, value in env.items() if not key.startswith("PIP_")}
        # The environment, not arguments: a build in isolation must see it too.
        env |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1"}
        env["PIP_FIND_LINKS"] = str(found_in)
    command, *rest = arguments
    run([sys.executable, "-m", "pip", command, "-q", *rest], env)
