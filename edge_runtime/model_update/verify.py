"""Checks of a new model file: is it intact, signed, for the same task, fast enough?"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from edge_runtime.errors import ModelError
from edge_runtime.inference.classifier import Classifier
from edge_runtime.model_file import signature
from edge_runtime.model_file.container import (
    parse_model_file,
    read_model_bytes,
    unparsed_model_file,
)
from edge_runtime.model_update.policy import UpdatePolicy
from edge_runtime.model_update.probe import probe
from edge_runtime.model_update.task import check_same_task, read_spec

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
    data = read_model_bytes(path, max_bytes)
    if policy.public_key is not None:
        signature.verify(data, signature.read_signature(path), policy.public_key)
    unparsed = unparsed_model_file(path, data)
    if unparsed.sha256 == running.file.sha256:
        logger.info("model update: %s is the model that is running", path.name)
        return None
    threads, backend = policy.threads, policy.backend
    times = probe(unparsed, running.file, threads=threads, backend=backend, stop=stop)
    # Only now, in the process of the camera: a child has survived these very bytes.
    file = parse_model_file(path, data)
    check_same_task(read_spec(file), running.spec, path.name)
    if times.present_ms is not None:
        too_slow = policy.check_speed(times.new_ms, times.present_ms)
        if too_slow:
            raise ModelError(f"{path.name} is too slow: {too_slow}")
    return Classifier.from_file(file, num_threads=threads, backend=backend)
