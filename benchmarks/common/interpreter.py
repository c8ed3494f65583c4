"""Runs TFLite files that are not classifiers: the bare ``invoke``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.common.timing import Call
from edge_runtime.errors import MeasurementError
from edge_runtime.utils.stderr import suppress_stderr


def invoke_call(model: bytes, *, library: str, threads: int) -> Call:
    """Returns the call that runs a model once, on seeded noise.

    Args:
        model: The flatbuffer.
        library: ``"ai-edge-litert"`` or ``"tflite-runtime"``.
        threads: CPU threads.

    Raises:
        MeasurementError: The library cannot load it.
    """
    try:
        with suppress_stderr():
            interpreter = _interpreter(library)(
                model_content=model, num_threads=threads
            )
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError, SystemError) as error:
        raise MeasurementError(f"{library} cannot load a model: {error}") from error
    (image,) = interpreter.get_input_details()
    rng = np.random.default_rng(0)
    pixels = rng.integers(-128, 128, image["shape"])
    interpreter.set_tensor(image["index"], pixels.astype(image["dtype"]))
    invoke: Call = interpreter.invoke
    return invoke


def _interpreter(library: str) -> Callable[..., Any]:
    if library == "tflite-runtime":
        from tflite_runtime import interpreter
    else:
        from ai_edge_litert import interpreter
    interpreter_class: Callable[..., Any] = interpreter.Interpreter
    return interpreter_class
