"""A classifier whose model is replaced while the camera runs.

                        accepted
          +----------------------------------+
          v                                  |
      watching --offer--> shadow --passed--> probation
          ^  ^               |                  |
          |  +----refused----+                  |
          +--------------rolled back------------+

    watching   The present model answers.
    shadow     The present model answers. The new one runs on the same faces, and its
               labels and times are compared.
    probation  The new model answers. The old one stands by (a canary release) and
               answers the very frame on which the new one fails.

Models change between two frames, inside the call that classifies the faces of one. No
frame waits for a model to load, and none is lost.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_runtime.inference.backends import Backend
from edge_runtime.inference.classifier import Classifier
from edge_runtime.model_file.container import ModelFile
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.model_update.policy import UpdatePolicy
from edge_runtime.model_update.trial import Batch, Probabilities, Trial
from edge_runtime.preprocessing import Image

logger = logging.getLogger(__name__)


class UpdatingClassifier:
    """A ``Classifier`` that can change its model between two frames.

    ``prepare`` and ``probabilities`` are called by one thread; ``offer``, ``refuse``,
    ``on_trial`` and ``update_state`` may be called by any.
    """

    def __init__(
        self,
        classifier: Classifier,
        policy: UpdatePolicy | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Starts in the state ``watching``.

        Args:
            classifier: The first model.
            policy: How new models are judged.
            clock: Seconds, for timing the models.
        """
        self.policy = policy or UpdatePolicy()
        self._current, self._clock = classifier, clock
        self._trial: Trial | None = None
        self._pending: tuple[Classifier, Path] | None = None
        self._lock = threading.Lock()  # guards the change from pending to trial
        self._crops: list[Image] = []
        self._last: dict[str, Any] | None = None

    @property
    def current(self) -> Classifier:
        """The model that answers."""
        return self._current

    @property
    def spec(self) -> ModelSpec:
        """Its metadata."""
        return self._current.spec

    @property
    def file(self) -> ModelFile:
        """Its file."""
        return self._current.file

    @property
    def backend(self) -> Backend:
        """The library that runs it."""
        return self._current.backend

    def prepare(self, image: Image) -> Batch:
        """Returns an image as the current model takes it, uint8 (S, S, C)."""
        if self._trial is not None:
            self._crops.append(image)
        return self._current.prepare(image)

    def probabilities(self, batch: Batch) -> Probabilities:
        """Returns float32 (N, classes) for the faces of one frame; may change state.

        Args:
            batch: uint8 (N, S, S, C): what ``prepare`` returned since the last call.
        """
        if self._trial is None:
            answer = self._current.probabilities(batch)
        else:
            crops, self._crops = self._crops, []
            answer = self._trial.probabilities(crops, batch)
            self._advance(self._trial)
        on_probation = self._trial is not None and self._trial.phase == "probation"
        if self._pending is not None and not on_probation:
            self._start_trial()
        return answer

    def offer(self, classifier: Classifier, path: Path) -> None:
        """Takes a verified model; its shadow phase starts with the next frame.

        It replaces a model in the shadow phase, and waits for one on probation.
        """
        with self._lock:
            self._pending = (classifier, path)

    def refuse(self, path: Path, reason: str, outcome: str = "refused") -> None:
        """Records and logs that a file will not be used."""
        self._record(path, outcome, reason)
        logger.warning("model update: %s %s: %s", path.name, outcome, reason)

    @property
    def on_trial(self) -> set[str]:
        """Names of the files that are on trial or wait for their trial."""
        with self._lock:
            paths = [self._trial.path] if self._trial else []
            paths += [self._pending[1]] if self._pending else []
        return {path.name for path in paths}

    def update_state(self) -> dict[str, Any]:
        """Returns the state of the update, JSON-ready.

        Returns:
            phase (``"watching"``, ``"shadow"``, ``"probation"``), file (of the model on
            trial, or None), compared (frames, faces, agreement, old_ms, new_ms; or
            None) and last (file, outcome, reason and unix_s of the last decision; or
            None).
        """
        trial = self._trial
        return {
            "phase": trial.phase if trial else "watching",
            "file": trial.path.name if trial else None,
            "compared": trial.comparison() if trial else None,
            "last": self._last,
        }

    def _start_trial(self) -> None:
        self._crops = []
        with self._lock:
            if self._pending is None:
                return
            (new, path), self._pending = self._pending, None
            self._trial = Trial(self._current, new, path, self.policy, self._clock)
        logger.info(
            "model update: %s is compared with %s for %d frames with faces",
            path.name,
            self._current.file.name,
            self.policy.frames,
        )

    def _advance(self, trial: Trial) -> None:
        """Changes the state if this frame decided the current phase."""
        if trial.fault is not None:
            outcome = "refused" if trial.phase == "shadow" else "rolled back"
            self._current, self._trial = trial.old, None
            self.refuse(trial.path, trial.fault, outcome)
        elif trial.frames_left:
            return
        elif trial.phase == "shadow":
            trial.start_probation()
            self._current = trial.new
            logger.info("model update: %s swapped in %s", trial.path.name, trial)
        else:
            self._trial = None
            self._record(trial.path, "accepted", str(trial))
            logger.info("model update: %s accepted", trial.path.name)

    def _record(self, path: Path, outcome: str, reason: str) -> None:
        self._last = {
            "file": path.name,
            "outcome": outcome,
            "reason": reason,
            "unix_s": time.time(),
        }
