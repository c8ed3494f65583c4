"""A model file that appeared: is it what its exporter wrote, and for the same task?"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

from edge_runtime.errors import MetadataError, ModelError
from edge_runtime.inference.classifier import Classifier
from edge_runtime.model_file.container import ModelFile, read_model_file
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.model_update.policy import Limits
from edge_runtime.model_update.probe import probe

logger = logging.getLogger(__name__)

# A candidate is held several times in memory, beside all that runs on a small board.
LARGEST_BYTES, LARGEST_GROWTH = 64 * 2**20, 4


@dataclass(frozen=True)
class UpdatePolicy:
    """How models are loaded and judged.

    Attributes:
        threads: CPU threads.
        backend: Inference library, or ``"auto"``.
        public_key: PEM file; refuse what its owner did not sign.
        limits: What a new model must keep to.
    """

    threads: int = 1
    backend: str = "auto"
    public_key: Path | None = None
    limits: Limits = field(default_factory=Limits)


def verify(
    path: Path,
    running: Classifier,
    settings: UpdatePolicy,
    ended: threading.Event | None = None,
) -> Classifier | None:
    """Returns a model that is what its exporter wrote and does the same task.

    Args:
        path: A file that appeared.
        running: The model that it would replace.
        settings: How models are loaded and judged.
        ended: Set when nobody waits for the answer any more.

    Returns:
        The loaded model; None if it is the one that is running.

    Raises:
        ModelError: It is too large, damaged, unsigned where a signature is required,
            for another task, answers its golden vectors wrongly, crashes, or is too
            slow; or ``ended`` was set.
    """
    largest = max(LARGEST_BYTES, LARGEST_GROWTH * running.file.size)
    file = read_model_file(path, public_key=settings.public_key, largest_bytes=largest)
    spec = _spec(file)
    if file.document == running.file.document:
        logger.info("model update: %s is the model that is running", path.name)
        return None
    check_same_task(spec, running.spec, path.name)
    seen = probe(
        file,
        running.file,
        threads=settings.threads,
        backend=settings.backend,
        ended=ended,
    )
    if seen.present_ms is not None:
        slow = settings.limits.too_slow(seen.new_ms, seen.present_ms)
        if slow:
            raise ModelError(f"{path.name} is too slow: {slow}")
    return Classifier.from_file(
        file, num_threads=settings.threads, backend=settings.backend
    )


def _spec(file: ModelFile) -> ModelSpec:
    spec = ModelSpec.from_document(file.document) if file.document else None
    if spec is None or spec.golden is None:
        raise MetadataError(
            f"expected a model with labels and golden vectors inside, got {file.name},"
            " which has none: export it with  python -m export"
        )
    return spec


def check_same_task(new: ModelSpec, old: ModelSpec, name: str) -> None:
    """Returns if a model can stand in for another while faces are being followed.

    Args:
        new: The spec of the one that came.
        old: The spec of the one that is running.
        name: The new file's, for the message.

    Raises:
        ModelError: Its labels or its crop margin are others; the message says how they
            differ.
    """
    if new.labels != old.labels:
        more = sorted(set(new.labels) - set(old.labels))
        fewer = sorted(set(old.labels) - set(new.labels))
        how = [f"it adds {', '.join(more)}"] if more else []
        how += [f"it lacks {', '.join(fewer)}"] if fewer else []
        raise ModelError(
            f"expected the running model's labels, got others in {name}:"
            f" {' and '.join(how) or 'the same in another order'};"
            " stop the service and start it with that model"
        )
    if abs(new.crop_margin_frac - old.crop_margin_frac) > 1e-6:
        raise ModelError(
            f"expected the running model's crop margin {old.crop_margin_frac:g}, got"
            f" {new.crop_margin_frac:g} in {name}: stop the service and start it with"
            " that model"
        )
