"""Work for boards, done beside each other; every result is computed once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from tests.arm64.cache import ROOT, UnavailableError
from tests.arm64.counting import count_instructions
from tests.arm64.emulator import Board
from tests.arm64.instruction_record import Count
from tests.arm64.parity import Replay, replay_here, replay_on
from tests.arm64.plan import DeviceTests, Place, images_of
from tests.arm64.wheels import TFLITE_RUNTIME, Environment

Done = subprocess.CompletedProcess[str]


class Work:
    """Boards, and a queue for them."""

    def __init__(
        self,
        boards: Mapping[tuple[str, str], Board],
        pool: Executor,
        folder: Path,
        cases: Path,
        plugin: Path,
    ) -> None:
        """Takes what is needed for every kind of work.

        Args:
            boards: As ``emulator.make_boards`` returned them.
            pool: Runs the work.
            folder: For results.
            cases: As ``parity.write_cases`` wrote them.
            plugin: As ``counting.build_plugin`` returned it.
        """
        self.boards, self.folder, self.cases, self.plugin = (
            boards,
            folder,
            cases,
            plugin,
        )
        self._pool = pool
        self._begun: dict[tuple[object, ...], Future[Any]] = {}

    def board(self, place: Place) -> Board:
        """Returns the board of an environment and a core."""
        environment, core = place
        return self.boards[environment.name, core.name]

    def replay(self, place: Place, model: Path) -> Future[Replay]:
        """Returns what a board makes of the inputs, when it is done."""
        out = self._out()
        board = self.board(place)
        return self._begin(
            ("replay", board.name, model),
            replay_on,
            board,
            self.cases,
            model,
            out,
            images_of(place[0], model),
        )

    def replay_here(self, environment: Environment, model: Path) -> Future[Replay]:
        """Returns what this machine makes of them with the same wheel and library."""
        (path, *_) = next(
            board.path
            for board in self.boards.values()
            if board.environment == environment
        )
        return self._begin(
            ("here", environment.backend, model),
            replay_here,
            python_here(environment),
            [path],
            environment.backend,
            self.cases,
            model,
            self._out(),
            images_of(environment, model),
        )

    def count(self, place: Place, model: Path) -> Future[Count]:
        """Returns the instructions of one inference, when they are counted."""
        board = self.board(place)
        return self._begin(
            ("count", board.name, model), count_instructions, board, model, self.plugin
        )

    def device_tests(self, tests: DeviceTests) -> Future[Done]:
        """Returns how pytest ended on a board."""
        return self._begin(
            ("tests", tests.id),
            run_device_tests,
            self.board(tests.place),
            tests,
            self.folder / f"checkout-{tests.id}",
        )

    def _begin(
        self, key: tuple[object, ...], work: Callable[..., Any], *arguments: object
    ) -> Future[Any]:
        if key not in self._begun:
            self._begun[key] = self._pool.submit(work, *arguments)
        return self._begun[key]

    def _out(self) -> Path:
        return self.folder / f"replay-{len(self._begun)}.npz"


def python_here(environment: Environment) -> Path:
    """Returns a Python of this machine with an environment's inference library.

    Raises:
        UnavailableError: ``make test-arm64`` makes it; somebody called pytest instead.
    """
    if environment != TFLITE_RUNTIME:
        return Path(sys.executable)
    python = ROOT / ".venv-device" / environment.name / "bin" / "python"
    if not python.exists():
        raise UnavailableError(
            "the device environments are missing: run  make test-arm64"
        )
    return python


def run_device_tests(board: Board, tests: DeviceTests, folder: Path) -> Done:
    """Returns how the device tests ended on a board.

    They run in a copy of the checkout without ``edge_runtime``, so that it is the
    wheel's which is tested.
    """
    skip = shutil.ignore_patterns("__pycache__")
    for name in ("train", "tests/device", "tests/data"):
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    for name in ("conftest.py", "onnx_runtime.py"):
        shutil.copy(ROOT / "tests" / name, folder / "tests")
    shutil.copy(ROOT / "pyproject.toml", folder)
    modules = [f"tests/device/{name}.py" for name in tests.modules]
    options = ["-q", "-p", "no:cacheprovider", "-k", tests.without]
    # CI: Hypothesis then puts up with slow examples, as an emulator makes them.
    extra = {"CI": "1"}
    return board.run("-m", "pytest", *options, *modules, folder=folder, extra=extra)
