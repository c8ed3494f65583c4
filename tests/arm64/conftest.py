"""The boards, and the work that they do beside each other while the tests wait."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import pytest

from tests.arm64 import plan
from tests.arm64.cache import UnavailableError
from tests.arm64.counting import build_plugin
from tests.arm64.emulator import make_boards
from tests.arm64.parity import write_cases
from tests.arm64.work import Work, python_here


def unavailable(reason: object) -> NoReturn:
    """Skips, or fails where ``FER_EDGE_ARM64`` is ``required`` (as in .ci/run)."""
    text = f"no arm64 emulation here: {reason}"
    if os.environ.get("FER_EDGE_ARM64") == "required":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the planted faults first: their work is not queued, so it is done meanwhile.

    All other tests wait for what is in the queue.
    """
    items.sort(key=lambda item: item.path.stem != "test_planted")


@pytest.fixture(scope="session")
def work(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Work]:
    """Boards at work: all is begun at once, so that no core of this machine idles."""
    folder = tmp_path_factory.mktemp("arm64")
    wanted = dict.fromkeys((*plan.COUNTS, *plan.REPLAYS))
    try:
        for environment, _ in wanted:
            python_here(environment)
        boards, plugin = make_boards(list(wanted), folder), build_plugin()
    except UnavailableError as reason:
        unavailable(reason)
    write_cases(folder / "cases.npz")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        work = Work(boards, pool, folder, folder / "cases.npz", plugin)
        begin_all(work, {item.path.stem for item in request.session.items})
        yield work
        pool.shutdown(cancel_futures=True)


def begin_all(work: Work, modules: set[str]) -> None:
    """Queues what the selected test modules will ask for, the longest first."""
    if "test_boards" in modules:
        for tests in plan.DEVICE_TESTS:
            work.device_tests(tests)
    for place, model in plan.replays() if "test_parity" in modules else ():
        work.replay(place, model)
        work.replay_here(place[0], model)
    for model in plan.gated() if "test_instruction_counts" in modules else ():
        for place in plan.COUNTS:
            work.count(place, model)
