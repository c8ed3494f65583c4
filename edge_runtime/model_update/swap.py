"""A better model, taken while the camera runs, and given back if it errs.

    new file -> verified -> shadow -> swapped, on probation -> accepted
                   |          |               |
                refused    refused       rolled back

Files are verified and loaded in a thread of their own; models change hands between two
frames, inside the call that answers the faces of one. No frame waits and none is lost:
a frame that the new model fails on is answered by the old one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import FerEdgeError
from edge_runtime.inference.backends import Backend
from edge_runtime.inference.classifier import Classifier
from edge_runtime.model_file.container import ModelFile
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.model_update.trial import Canary, Shadow, Trial
from edge_runtime.model_update.verify import UpdatePolicy, verify
from edge_runtime.model_update.watch_folder import ModelFolder
from edge_runtime.preprocessing import Image

logger = logging.getLogger(__name__)

POLL_S = 1.0

_CLOSE_S = 0.5  # the model's child is ended within a tenth of a second


class UpdatingClassifier:
    """A classifier whose model can be exchanged between two frames.

    ``prepare`` and ``probabilities`` belong to one thread, as in the loop; ``offer``
    and ``update_state`` may be called from any.
    """

    def __init__(
        self, classifier: Classifier, settings: UpdatePolicy | None = None
    ) -> None:
        """Starts with a model.

        Args:
            classifier: It.
            settings: How others are judged.
        """
        self.settings = settings or UpdatePolicy()
        self._current = classifier
        self._trial: Trial | None = None
        self._trial_path = Path()
        self._pending: tuple[Classifier, Path] | None = None
        # Of the two above, which go from one thread to the other; held for no work.
        self._lock = threading.Lock()
        self._crops: list[Image] = []
        self._last: dict[str, Any] | None = None

    @property
    def current(self) -> Classifier:
        """The model in charge."""
        return self._current

    @property
    def spec(self) -> ModelSpec:
        """What the model in charge says about itself."""
        return self._current.spec

    @property
    def file(self) -> ModelFile:
        """The file of the model in charge."""
        return self._current.file

    @property
    def backend(self) -> Backend:
        """The library that runs the model in charge."""
        return self._current.backend

    def prepare(self, image: Image) -> npt.NDArray[np.uint8]:
        """Returns an image as the model in charge takes it, uint8 (S, S, C)."""
        if self._trial is not None:
            self._crops.append(image)
        return self._current.prepare(image)

    def probabilities(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Returns float32 (N, classes) for one frame's faces, then lets models change.

        Args:
            batch: uint8 (N, S, S, C), of what ``prepare`` returned since the last call.
        """
        trial = self._trial
        if trial is None:
            answer = self._current.probabilities(batch)
        else:
            crops, self._crops = self._crops, []
            answer = trial.answer(crops, batch)
            if trial.finished:
                self._settle(trial)
        if self._pending is not None and not isinstance(self._trial, Canary):
            self._begin()
        return answer

    def offer(self, classifier: Classifier, path: Path) -> None:
        """Hands over a verified model; its shadow begins with the next frame.

        It takes the place of one still in the shadow, and waits for one on probation.
        """
        with self._lock:
            self._pending = (classifier, path)

    @property
    def on_trial(self) -> set[str]:
        """Names of the files that are on trial, or wait for one."""
        with self._lock:
            running = {self._trial_path.name} if self._trial else set()
            return running | ({self._pending[1].name} if self._pending else set())

    def refuse(self, path: Path, reason: str, outcome: str = "refused") -> None:
        """Records and logs that a file will not be used."""
        self._ended(path, outcome, reason)
        logger.warning("model update: %s %s: %s", path.name, outcome, reason)

    def update_state(self) -> dict[str, Any]:
        """Returns how the update stands, JSON-ready.

        Returns:
            phase (``"watching"``, ``"shadow"``, ``"probation"``), file (of the model on
            trial, or None), compared (frames, faces, agreement, old_ms, new_ms; or
            None) and last (file, outcome, reason and unix_s of the last decision; or
            None).
        """
        trial = self._trial
        return {
            "phase": trial.phase if trial else "watching",
            "file": self._trial_path.name if trial else None,
            "compared": trial.compared.document() if trial else None,
            "last": self._last,
        }

    def _begin(self) -> None:
        self._crops = []
        with self._lock:
            if self._pending is None:
                return
            (new, self._trial_path), self._pending = self._pending, None
            self._trial = Shadow(self._current, new, self.settings.limits)
        logger.info(
            "model update: %s is compared with %s for %d frames with faces",
            self._trial_path.name,
            self._current.file.name,
            self.settings.limits.frames,
        )

    def _settle(self, trial: Trial) -> None:
        """Goes on to what follows a trial that is decided."""
        path = self._trial_path
        if trial.fault is not None:
            self._current, self._trial = trial.old, None
            after = "rolled back" if isinstance(trial, Canary) else "refused"
            self.refuse(path, trial.fault, after)
        elif isinstance(trial, Shadow):
            self._current, self._trial = trial.new, Canary(trial)
            logger.info("model update: %s swapped in %s", path.name, _said(trial))
        else:
            self._trial = None
            self._ended(path, "accepted", _said(trial))
            logger.info("model update: %s accepted", path.name)

    def _ended(self, path: Path, outcome: str, reason: str) -> None:
        self._last = {
            "file": path.name,
            "outcome": outcome,
            "reason": reason,
            "unix_s": time.time(),
        }


def _said(trial: Trial) -> str:
    compared = trial.compared.document()
    return (
        f"(same answer on {100 * (compared['agreement'] or 0):.1f} % of"
        f" {compared['faces']} faces, {compared['new_ms']:.2f} ms a face after"
        f" {compared['old_ms']:.2f})"
    )


@contextmanager
def watching(
    updating: UpdatingClassifier, folder: ModelFolder, *, poll_s: float = POLL_S
) -> Iterator[None]:
    """Watches a folder in the background for the length of a ``with`` block.

    What was on trial when an earlier process died is refused, until it changes.

    Args:
        updating: Is offered what is found good.
        folder: Where files appear.
        poll_s: Seconds between two looks.
    """
    end = threading.Event()
    if folder.memory.last is not None:
        updating.refuse(
            folder.path / folder.memory.last,
            "the process died while it was on trial; to try it again, touch it",
        )

    def watch() -> None:
        while not end.wait(poll_s):
            path = folder.next_candidate()
            if path is not None:
                consider(updating, path, end)
            else:
                folder.memory.keep(updating.on_trial)

    thread = threading.Thread(target=watch, name="model-update", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(_CLOSE_S)
        folder.memory.end()


def consider(
    updating: UpdatingClassifier, path: Path, ended: threading.Event | None = None
) -> None:
    """Verifies a file and offers it, or says why not; never raises for a bad file.

    Args:
        updating: Is offered what is found good.
        path: The file.
        ended: Set when nobody waits for it any more.
    """
    ended = ended or threading.Event()
    try:
        new = verify(path, updating.current, updating.settings, ended)
    except FerEdgeError as error:
        if ended.is_set():
            return  # no fault of the file's
        updating.refuse(path, " ".join(str(error).split()))
    except Exception as error:  # a hostile file must not end the watching
        logger.debug("details", exc_info=True)
        updating.refuse(path, f"{type(error).__name__}: {error}")
    else:
        if new is not None:
            updating.offer(new, path)
