"""Runs TFLite files that are not classifiers: the bare ``invoke``."""

from __future__ import annotations

from importlib import import_module

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
            module = import_module(f"{library.replace('-', '_')}.interpreter")
            interpreter = module.Interpreter(model_content=model, num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError, SystemError) as error:
        raise MeasurementError(f"{library} cannot load a model: {error}") from error
    (image,) = interpreter.get_input_details()
    rng = np.random.default_rng(0)
    pixels = rng.integers(-128, 128, image["shape"])
    interpreter.set_tensor(image["index"], pixels.astype(image["dtype"]))
    invoke: Call = interpreter.invoke
    return invoke
