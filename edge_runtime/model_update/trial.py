"""A new model on trial: compared with the present one, then watched."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge_runtime.inference.classifier import Classifier
from edge_runtime.model_update.policy import UpdatePolicy
from edge_runtime.preprocessing import Image

Batch = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]

RECENT_FRAMES = 20  # times are medians over these: one slow frame condemns no model


class Trial:
    """A new model beside the old one: its shadow phase, then its probation.

    Attributes:
        phase: Which of the two.
        fault: Why the new model is given up; None while there is no reason.
        frames_left: Frames until the phase is passed.
    """

    def __init__(
        self,
        old: Classifier,
        new: Classifier,
        path: Path,
        policy: UpdatePolicy,
        clock: Callable[[], float],
    ) -> None:
        self.old, self.new, self.path = old, new, path
        self._policy, self._clock = policy, clock
        self.phase: Literal["shadow", "probation"] = "shadow"
        self.fault: str | None = None
        self.frames_left = policy.frames
        self._frames = self._faces = self._agreeing = 0
        # Times are per face: the number of faces in a frame may change with the phase.
        self._old_ms, self._new_ms, self._probation_ms = (
            deque[float](maxlen=RECENT_FRAMES) for _ in range(3)
        )

    def probabilities(self, crops: Sequence[Image], batch: Batch) -> Probabilities:
        """Returns float32 (N, classes), of the new model while on probation.

        Args:
            crops: N faces, uint8 grey or BGR, before ``prepare``.
            batch: The same, prepared for the model that answers in this phase.
        """
        if self.phase == "shadow":
            answer, old_ms = self._timed(self.old, batch)
            self._compare(answer, old_ms, crops)
            return answer
        result = self._try_new(lambda: batch)
        if result is None:
            return self.old.probabilities(_prepare(self.old, crops))
        self.frames_left -= 1
        self._probation_ms.append(result[1])
        if len(self._probation_ms) == RECENT_FRAMES:
            new_ms, old_ms = median(self._probation_ms), median(self._old_ms)
            self.fault = self._policy.check_speed(new_ms, old_ms)
        return result[0]

    def start_probation(self) -> None:
        """Enters the second phase."""
        self.phase, self.frames_left = "probation", self._policy.frames

    def comparison(self) -> dict[str, Any]:
        """Returns what the shadow phase measured, JSON-ready; times in ms a face."""
        return {
            "frames": self._frames,
            "faces": self._faces,
            "agreement": self._agreeing / self._faces if self._faces else None,
            "old_ms": median(self._old_ms) if self._old_ms else None,
            "new_ms": median(self._new_ms) if self._new_ms else None,
        }

    def __str__(self) -> str:
        return (
            f"(same answer on {100 * self._agreeing / self._faces:.1f} % of"
            f" {self._faces} faces, {median(self._new_ms):.2f} ms a face after"
            f" {median(self._old_ms):.2f})"
        )

    def _compare(
        self, answer: Probabilities, old_ms: float, crops: Sequence[Image]
    ) -> None:
        """Runs the new model on the faces that the old one has classified."""
        result = self._try_new(lambda: _prepare(self.new, crops))
        if result is None:
            return
        same_label = answer.argmax(axis=1) == result[0].argmax(axis=1)
        self._frames += 1
        self._faces += len(answer)
        self._agreeing += int(same_label.sum())
        self._old_ms.append(old_ms)
        self._new_ms.append(result[1])
        self.frames_left -= 1
        if not self.frames_left:
            self.fault = self._judge()

    def _judge(self) -> str | None:
        """Returns why the new model does not pass the shadow phase, or None."""
        agreement, minimum = self._agreeing / self._faces, self._policy.min_agreement
        if agreement < minimum:
            return (
                f"expected the present model's answer on {100 * minimum:.0f} % of the"
                f" faces, got {100 * agreement:.0f} % of {self._faces}"
            )
        return self._policy.check_speed(median(self._new_ms), median(self._old_ms))

    def _try_new(
        self, prepare: Callable[[], Batch]
    ) -> tuple[Probabilities, float] | None:
        """Returns the new model's answer and ms a face; None, with a fault, if bad."""
        try:
            answer, ms = self._timed(self.new, prepare())
        except Exception as error:  # of any kind: the old model answers this frame
            self.fault = f"raised {type(error).__name__}: {error}"
            return None
        if not np.isfinite(answer).all():
            self.fault = "gave probabilities that are not finite"
            return None
        return answer, ms

    def _timed(self, model: Classifier, batch: Batch) -> tuple[Probabilities, float]:
        started = self._clock()
        answer = model.probabilities(batch)
        return answer, 1000 * (self._clock() - started) / len(batch)


def _prepare(model: Classifier, crops: Sequence[Image]) -> Batch:
    return np.stack([model.prepare(crop) for crop in crops])
