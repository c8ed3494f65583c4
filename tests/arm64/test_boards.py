"""The emulated boards are what they claim to be."""

import json

import pytest

from tests.arm64 import plan

ASK = """
import json, platform, sys
from pathlib import Path
import edge_runtime
print(json.dumps({
    "machine": platform.machine(),
    "glibc": platform.libc_ver()[1],
    "python": platform.python_version(),
    "package": edge_runtime.__file__,
    "cpuinfo": Path("/proc/cpuinfo").read_text(),
}))
"""


@pytest.mark.parametrize(
    "place", plan.REPLAYS, ids=lambda place: f"{place[0].name}-{place[1].name}"
)
def test_board_is_arm64_and_has_the_wheel_installed(work, place):
    environment, core = place
    board = work.board(place)
    done = board.run("-c", ASK, folder=work.folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["machine"] == "aarch64"
    assert found["python"].startswith(environment.python + ".")
    assert found["package"].startswith(str(board.path[0]))
    assert core.part in found["cpuinfo"]


def test_installed_runtime_prints_its_version_as_a_command(work):
    done = work.board(plan.REPLAYS[0]).run(
        "-m", "edge_runtime", "--help", folder=work.folder
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("tests", plan.DEVICE_TESTS, ids=lambda tests: tests.id)
def test_device_tests_pass(work, tests):
    done = work.device_tests(tests).result()
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    print(done.stdout.splitlines()[-1])
