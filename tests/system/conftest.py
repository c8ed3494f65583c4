"""A part that is missing is a skip here, and a failure where all parts are promised.

``FER_EDGE_SYSTEM=required`` promises them: .ci/run installs packages.txt and sets it.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

# How the reason of a skip begins that no package can mend.
NOT_A_PART = "not on this machine: "


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fails a test that would be skipped."""
    report = yield
    if not hasattr(report, "wasxfail"):
        _require(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fails a file of tests that would be skipped."""
    report = yield
    _require(report)
    return report


def _require(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or os.environ.get("FER_EDGE_SYSTEM") != "required":
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    reason = str(reason).removeprefix("Skipped: ")
    if not reason.startswith(NOT_A_PART):
        report.outcome = "failed"
        report.longrepr = f"skipped, with FER_EDGE_SYSTEM=required: {reason}"
