"""One thing that the doctor looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["ok", "warn", "fail"]

_WORST_FIRST: tuple[Verdict, ...] = ("fail", "warn", "ok")


@dataclass(frozen=True)
class Finding:
    """What was found, and what to do about it.

    Attributes:
        name: What was looked at, a few words.
        status: ``"ok"``, ``"warn"`` (it runs, but not as well as it could) or
            ``"fail"`` (it does not run).
        value: What was found.
        remedy: What to do; empty where nothing is to be done.
    """

    name: str
    status: Verdict
    value: str
    remedy: str = ""

    def document(self) -> dict[str, Any]:
        """Returns it JSON-ready."""
        return asdict(self)


def worst(findings: Iterable[Finding]) -> Verdict:
    """Returns the worst status among findings; ``"ok"`` for none."""
    seen = {one.status for one in findings}
    return next((one for one in _WORST_FIRST if one in seen), "ok")
