"""One result of the examination."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["ok", "warn", "fail"]

_WORST_FIRST: tuple[Severity, ...] = ("fail", "warn", "ok")


@dataclass(frozen=True)
class Finding:
    """What was found, and what to do about it.

    Attributes:
        name: What was examined, a few words.
        status: ``"ok"``, ``"warn"`` (it runs, but not as well as it could) or
            ``"fail"`` (it does not run).
        value: What was found.
        remedy: What to do; empty where nothing needs to be done.
    """

    name: str
    status: Severity
    value: str
    remedy: str = ""


def worst(findings: Iterable[Finding]) -> Severity:
    """Returns the worst status among findings; ``"ok"`` for none."""
    statuses = {finding.status for finding in findings}
    return next((status for status in _WORST_FIRST if status in statuses), "ok")
