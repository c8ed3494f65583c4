"""CI fails where a system test was skipped because a part is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.system.service_run import ROOT

PLANTED = {
    "body": "import pytest\ndef test_x(): pytest.skip('no broker')\n",
    "mark": "import pytest\n@pytest.mark.skipif(True, reason='no broker')\n"
    "def test_x(): pass\n",
    "file": "import pytest\npytest.importorskip('no_such', reason='no broker')\n"
    "def test_x(): pass\n",
    "other": "import pytest\n"
    "def test_x(): pytest.skip('not on this machine: no root')\n",
    "xfail": "import pytest\n@pytest.mark.xfail\ndef test_x(): assert 0\n",
}
PARTS = ("body", "mark", "file")


def planted(folder: Path, demand: str) -> dict[str, set[str]]:
    """Returns the outcomes of planted tests under this folder's rule, by their name."""
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    for name, text in PLANTED.items():
        (folder / f"test_{name}.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider"]
    command += ["--continue-on-collection-errors", "-c", os.devnull]
    done = subprocess.run(
        [*command, "--rootdir", str(folder), str(folder)],
        capture_output=True,
        env={**os.environ, "FER_EDGE_SYSTEM": demand},
        text=True,
    )
    found: dict[str, set[str]] = {name: set() for name in PLANTED}
    summary = done.stdout.rpartition("short test summary info")[2]
    for outcome, name in re.findall(r"^([A-Z]+) .*?test_(\w+)\.py", summary, re.M):
        found[name].add(outcome)
    found["exit"] = {str(done.returncode)}
    found["reasons"] = set(re.findall(r"no broker|required: no broker", done.stdout))
    return found


def test_missing_part_fails_where_it_is_required(tmp_path: Path) -> None:
    found = planted(tmp_path, "required")
    assert found["body"] == {"FAILED"}
    assert found["mark"] == found["file"] == {"ERROR"}  # before the test itself
    assert (found["other"], found["xfail"]) == ({"SKIPPED"}, {"XFAIL"})
    assert found["exit"] == {"1"}
    assert found["reasons"] == {"required: no broker"}


def test_missing_part_skips_and_says_so_elsewhere(tmp_path: Path) -> None:
    found = planted(tmp_path, "")
    assert [found[name] for name in PARTS] == [{"SKIPPED"}] * 3
    assert (found["other"], found["xfail"]) == ({"SKIPPED"}, {"XFAIL"})
    assert found["exit"] == {"0"}
    assert found["reasons"] == {"no broker"}


def ci_run(folder: Path, *, absent: str, apt: str = "exit 0") -> tuple[str, list[str]]:
    """Runs .ci/run with stand-ins; returns what it said and which it called."""
    calls = folder / "calls"
    programs = {
        "dpkg-query": f'case " {absent} " in *" $4 "*) exit 1;; esac\n'
        "echo install ok installed",
        "apt-get": f'echo "apt-get $* $DEBIAN_FRONTEND" >> {calls}\n{apt}',
        "make": f'echo "make $* $FER_EDGE_SYSTEM" >> {calls}',
        "sudo": 'shift; exec "$@"',
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "FER_EDGE_SYSTEM": ""}
    command = [ROOT / ".ci" / "run"]
    done = subprocess.run(
        command, capture_output=True, check=True, env=environment, text=True
    )
    return done.stderr, calls.read_text().splitlines()


def test_ci_leaves_a_machine_alone_that_has_all_packages(tmp_path: Path) -> None:
    _, calls = ci_run(tmp_path, absent="")
    assert [call.split()[0] for call in calls] == ["make"]
    assert calls[0].endswith(" required")


def test_ci_installs_what_is_missing_and_nothing_else(tmp_path: Path) -> None:
    said, calls = ci_run(tmp_path, absent="openssl mosquitto")
    assert "NOT INSTALLED" not in said
    assert calls[0] == "apt-get -q update noninteractive"
    assert calls[1].startswith("apt-get -qy --no-install-recommends install ")
    assert set(calls[1].split()[4:-1]) == {"openssl", "mosquitto"}


def test_ci_that_cannot_install_says_so_and_demands_the_parts_still(
    tmp_path: Path,
) -> None:
    said, calls = ci_run(tmp_path, absent="chromium", apt="exit 100")
    assert "NOT INSTALLED: chromium" in said
    assert calls[-1].endswith(" required")
