"""Marks the begin and the end of inferences for the plugin that counts instructions.

    python count.py MODEL BACKEND

One thread: with more, how long they wait for each other would be counted.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from pathlib import Path

import numpy as np

from edge_runtime.model_file.container import read_model_file

MODULES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}
# The fourth takes some hundreds of instructions more, and from the eighth on all take
# some thousands fewer: probably Python specializing its bytecode. The last two count.
WARM_UP, COUNTED = 2, 12
FIRST_MARK = 7_000_000  # as in instructions.c; no process has such a number


def mark(number: int) -> None:
    """Makes a system call that the plugin knows and the kernel refuses."""
    try:
        os.getpgid(FIRST_MARK + number)
    except ProcessLookupError:
        return


def main() -> None:
    """Loads a model and runs it on one image."""
    path, backend = sys.argv[1:]
    library = importlib.import_module(MODULES[backend])
    file = read_model_file(Path(path))
    interpreter = library.Interpreter(model_content=file.model, num_threads=1)
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()[0]
    ramp = np.arange(np.prod(details["shape"])) % 251
    image = (ramp - (128 if details["dtype"] == np.int8 else 0)).astype(
        details["dtype"]
    )
    interpreter.set_tensor(details["index"], image.reshape(details["shape"]))
    gc.disable()
    for _ in range(WARM_UP):
        interpreter.invoke()
    for number in range(COUNTED):
        mark(2 * number)
        interpreter.invoke()
        mark(2 * number + 1)


if __name__ == "__main__":
    main()
