"""Two models on the same faces: the new one behind the old, then before it.

``Shadow``: the old model's answers go out, the new one answers beside it.
``Canary``: the new one's answers go out and the old one waits to take over, with the
very frame that the new one failed on. Neither touches a thread, a file or a clock but
``perf_counter``.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge_runtime.inference.classifier import Classifier
from edge_runtime.model_update.policy import Limits
from edge_runtime.preprocessing import Image

Batch = npt.NDArray[np.uint8]

Probabilities = npt.NDArray[np.float32]

Phase = Literal["shadow", "probation"]

# Latency is judged over this many frames, so that one hiccup condemns nobody.
RECENT = 20


@dataclass
class Comparison:
    """What two models did on the same frames.

    Times are per face: how many a frame has may be another on probation than it was in
    the shadow.
    """

    frames: int = 0
    faces: int = 0
    agreeing: int = 0
    old_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    new_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    @property
    def agreement(self) -> float | None:
        """Share of faces with the same answer; None before the first."""
        return self.agreeing / self.faces if self.faces else None

    def document(self) -> dict[str, Any]:
        """Returns it JSON-ready: ms a face, medians of recent frames."""
        return {
            "frames": self.frames,
            "faces": self.faces,
            "agreement": self.agreement,
            "old_ms": statistics.median(self.old_ms) if self.old_ms else None,
            "new_ms": statistics.median(self.new_ms) if self.new_ms else None,
        }


class Shadow:
    """The new model answers beside the old one, unheard.

    Attributes:
        fault: Why the new model is refused; None while nothing is known against it.
    """

    phase: Phase = "shadow"

    def __init__(self, old: Classifier, new: Classifier, limits: Limits) -> None:
        """Begins at zero."""
        self.old, self.new, self.limits = old, new, limits
        self.compared = Comparison()
        self.fault: str | None = None

    @property
    def answering(self) -> Classifier:
        """The model whose answers go out."""
        return self.old

    @property
    def finished(self) -> bool:
        """Whether it is decided."""
        return self.fault is not None or self.compared.frames >= self.limits.frames

    def answer(self, crops: Sequence[Image], batch: Batch) -> Probabilities:
        """Returns the old model's float32 (N, classes); the new one's is compared.

        Args:
            crops: N faces, uint8 grey or BGR, before ``prepare``.
            batch: The same as the old model takes them.
        """
        started = perf_counter()
        answer = self.old.probabilities(batch)
        old_ms = 1000 * (perf_counter() - started)
        try:
            other, new_ms = _timed(self.new, crops)
        except Exception as error:  # whatever it is, the old model's answer stands
            self.fault = f"raised {type(error).__name__}: {error}"
            return answer
        if not np.isfinite(other).all():
            self.fault = "gave probabilities that are not finite"
            return answer
        self._count(answer, other, old_ms, new_ms)
        return answer

    def _count(
        self, answer: Probabilities, other: Probabilities, old_ms: float, new_ms: float
    ) -> None:
        compared = self.compared
        compared.frames += 1
        compared.faces += len(answer)
        same = answer.argmax(axis=1) == other.argmax(axis=1)
        compared.agreeing += int(same.sum())
        compared.old_ms.append(old_ms / len(answer))
        compared.new_ms.append(new_ms / len(answer))
        if compared.frames >= self.limits.frames:
            self.fault = self._judged()

    def _judged(self) -> str | None:
        compared, least = self.compared, self.limits.least_agreement
        if compared.agreement is not None and compared.agreement < least:
            return (
                f"expected the present model's answer on {100 * least:.0f} % of the"
                f" faces, got {100 * compared.agreement:.0f} % of {compared.faces}"
            )
        return self.limits.too_slow(
            statistics.median(compared.new_ms), statistics.median(compared.old_ms)
        )


class Canary:
    """The new model answers; the old one takes over at its first fault.

    Attributes:
        fault: Why the old model is back; None while the new one keeps to its limits.
    """

    phase: Phase = "probation"

    def __init__(self, shadow: Shadow) -> None:
        """Follows a shadow that passed."""
        self.old, self.new, self.limits = shadow.old, shadow.new, shadow.limits
        self.compared = shadow.compared
        self.frames = 0
        self.fault: str | None = None
        self._old_ms = statistics.median(shadow.compared.old_ms)
        self._recent_ms: deque[float] = deque(maxlen=RECENT)

    @property
    def answering(self) -> Classifier:
        """The model whose answers go out."""
        return self.new

    @property
    def finished(self) -> bool:
        """Whether it is decided."""
        return self.fault is not None or self.frames >= self.limits.frames

    def answer(self, crops: Sequence[Image], batch: Batch) -> Probabilities:
        """Returns the new model's float32 (N, classes), or the old one's if it fails.

        Args:
            crops: N faces, uint8 grey or BGR, before ``prepare``.
            batch: The same as the new model takes them.
        """
        started = perf_counter()
        try:
            answer = self.new.probabilities(batch)
        except Exception as error:  # whatever it is, this frame must be answered
            self.fault = f"raised {type(error).__name__}: {error}"
            return _timed(self.old, crops)[0]
        if not np.isfinite(answer).all():
            self.fault = "gave probabilities that are not finite"
            return _timed(self.old, crops)[0]
        self._recent_ms.append(1000 * (perf_counter() - started) / len(batch))
        self.frames += 1
        if len(self._recent_ms) == RECENT:
            self.fault = self.limits.too_slow(
                statistics.median(self._recent_ms), self._old_ms
            )
        return answer


Trial = Shadow | Canary


def _timed(model: Classifier, crops: Sequence[Image]) -> tuple[Probabilities, float]:
    """Returns a model's answers and the time of the network alone, in ms."""
    batch = np.stack([model.prepare(crop) for crop in crops])
    started = perf_counter()
    answer = model.probabilities(batch)
    return answer, 1000 * (perf_counter() - started)
