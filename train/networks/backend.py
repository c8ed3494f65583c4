"""Starts Keras, the same on every machine and without the banners of its backend."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from edge_runtime.errors import (
    ConfigError,
    MissingDependencyError,
    missing_in_checkout,
)
from edge_runtime.utils.stderr import suppress_stderr

BACKENDS = ("jax", "tensorflow", "torch")
# Keras and TensorFlow import these where they are installed, for what is not used here
# (wrappers for scikit-learn, plots, tables): half of the seconds until Keras is there,
# and 200 MiB. Everybody else can import them afterwards.
LEFT_OUT = ("jax", "matplotlib", "pandas", "sklearn")


def start_keras(threads: int | None = None) -> None:
    """Imports Keras and its backend, and sets the backend's threads, silently.

    The backend is that of ``KERAS_BACKEND``, else TensorFlow. What ``keras.json`` says
    in the user's folder is not used: numbers are float32, channels are last.

    Args:
        threads: CPU threads of the backend; None for its default.

    Raises:
        ConfigError: There is no such backend, or ``keras.json`` stops Keras.
        MissingDependencyError: Keras or its backend is not installed.
    """
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend not in BACKENDS:
        from edge_runtime.utils.suggestions import nearest

        raise ConfigError(
            f"expected KERAS_BACKEND of {', '.join(BACKENDS)}, got {backend!r}"
            f"{nearest(backend, BACKENDS)}"
        )
    os.environ["KERAS_BACKEND"] = backend  # keras.json may name another one
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if threads:
        os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        with suppress_stderr(), _hidden([n for n in LEFT_OUT if n != backend]):
            import keras
    except (AttributeError, OSError, ValueError) as error:  # what Keras makes of it
        raise ConfigError(
            "Keras does not start with the keras.json in its folder (~/.keras, or"
            f" KERAS_HOME): delete that file ({error!r})"
        ) from error
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError)
        if absent and error.name != "keras" and backend != "tensorflow":
            raise MissingDependencyError(
                f"KERAS_BACKEND is {backend}, which is not installed ({error.name}):"
                f" install it, or  unset KERAS_BACKEND  for TensorFlow"
            ) from error
        library = f"keras, or its backend ({error.name}),"
        raise missing_in_checkout(library, "train", error) from error
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")


@contextmanager
def _hidden(names: Sequence[str]) -> Iterator[None]:
    """Makes imports of these modules fail in the body, as if they were not installed.

    Those that were imported before stay.
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
