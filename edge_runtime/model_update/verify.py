"""Checks of a new model file: is it intact, signed, for the same task, fast enough?"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from edge_runtime.errors import MetadataError, ModelError
from edge_runtime.inference.classifier import Classifier
from edge_runtime.model_file.container import ModelFile, read_model_file
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.model_update.policy import UpdatePolicy
from edge_runtime.model_update.probe import probe

logger = logging.getLogger(__name__)

# A new model is in memory several times, beside everything else on a small board.
MAX_BYTES, MAX_GROWTH = 64 * 2**20, 4


def verify(
    path: Path,
    running: Classifier,
    policy: UpdatePolicy,
    stop: threading.Event | None = None,
) -> Classifier | None:
    """Returns the model in a file, loaded; None if it is the one that is running.

    Args:
        path: The new file.
        running: The model that it would replace.
        policy: How models are loaded and judged.
        stop: Set when the run ends: the check is given up.

    Raises:
        ModelError: It is too large, damaged, unsigned where a signature is required,
            for another task, answers its golden vectors wrongly, crashes, or is too
            slow; or ``stop`` was set.
    """
    max_bytes = max(MAX_BYTES, MAX_GROWTH * running.file.size)
    file = read_model_file(path, public_key=policy.public_key, largest_bytes=max_bytes)
    spec = _read_spec(file)
    if file.document == running.file.document:
        logger.info("model update: %s is the model that is running", path.name)
        return None
    _check_same_task(spec, running.spec, path.name)
    threads, backend = policy.threads, policy.backend
    times = probe(file, running.file, threads=threads, backend=backend, stop=stop)
    if times.present_ms is not None:
        too_slow = policy.check_speed(times.new_ms, times.present_ms)
        if too_slow:
            raise ModelError(f"{path.name} is too slow: {too_slow}")
    return Classifier.from_file(file, num_threads=threads, backend=backend)


def _read_spec(file: ModelFile) -> ModelSpec:
    spec = ModelSpec.from_document(file.document) if file.document else None
    if spec is None or spec.golden is None:
        raise MetadataError(
            f"expected a model with labels and golden vectors inside, got {file.name},"
            " which has none: export it with  python -m export"
        )
    return spec


def _check_same_task(new: ModelSpec, old: ModelSpec, name: str) -> None:
    """Raises ``ModelError`` if labels or crop margin differ from the running model's.

    Tracked faces keep probabilities and crops from before the update.
    """
    if new.labels != old.labels:
        added = sorted(set(new.labels) - set(old.labels))
        missing = sorted(set(old.labels) - set(new.labels))
        differences = [f"it adds {', '.join(added)}"] if added else []
        differences += [f"it lacks {', '.join(missing)}"] if missing else []
        raise ModelError(
            f"expected the running model's labels, got others in {name}:"
            f" {' and '.join(differences) or 'the same in another order'};"
            " stop the service and start it with that model"
        )
    if abs(new.crop_margin_frac - old.crop_margin_frac) > 1e-6:
        raise ModelError(
            f"expected the running model's crop margin {old.crop_margin_frac:g}, got"
            f" {new.crop_margin_frac:g} in {name}: stop the service and start it with"
            " that model"
        )
