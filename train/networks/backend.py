"""Starts Keras without the banners of its backend."""

from __future__ import annotations

import os

from edge_runtime.errors import MissingDependencyError, missing_in_checkout
from edge_runtime.utils.stderr import suppress_stderr


def start_keras(threads: int | None = None) -> None:
    """Imports Keras and its backend, and sets the backend's threads, silently.

    Variables the user has set are left alone.

    Args:
        threads: CPU threads of the backend; None for its default.

    Raises:
        MissingDependencyError: Keras or its backend is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if threads:
        os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        with suppress_stderr():
            import keras

            keras.backend.backend()
    except ImportError as error:
        wanted = os.environ.get("KERAS_BACKEND", "tensorflow")
        if error.name != "keras" and wanted != "tensorflow":
            raise MissingDependencyError(
                f"KERAS_BACKEND is {wanted}, which is not installed ({error.name}):"
                f" install it, or  unset KERAS_BACKEND  for TensorFlow"
            ) from error
        raise missing_in_checkout(
            f"keras, or its backend ({error.name}),", "train"
        ) from error
