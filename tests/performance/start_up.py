"""Compares the time to the first label with that of the shortest possible script."""

from __future__ import annotations

import statistics
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.pipeline.start_up import (
    compiled_modules,
    first_line_ms,
    peak_memory_mb,
)

REPEATS = 15  # of five the median was 1.25 to 1.57 in runs of the same code
# The least that anybody could write: imports, the file, one call.
BARE = """
import sys
import cv2
import numpy as np
{import_interpreter}

interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
(image,) = interpreter.get_input_details()
(result,) = interpreter.get_output_details()
picture = cv2.imread(sys.argv[2], cv2.IMREAD_GRAYSCALE)
face = cv2.resize(picture, tuple(image["shape"][1:3]), interpolation=cv2.INTER_AREA)
face = np.broadcast_to(face[None, ..., None], image["shape"])
if image["dtype"] == np.int8:
    face = face.astype(np.int16) - 128
interpreter.set_tensor(image["index"], face.astype(image["dtype"]))
interpreter.invoke()
print(int(interpreter.get_tensor(result["index"]).argmax()), flush=True)
"""
IMPORTS = {
    "ai-edge-litert": "from ai_edge_litert.interpreter import Interpreter",
    "tflite-runtime": "from tflite_runtime.interpreter import Interpreter",
}
# A camera for three seconds, a page that nobody opens and a broker that is not there.
SERVICE_FRAMES = 90
SERVICE = (
    *("--source", f"fake:scene?frames={SERVICE_FRAMES}", "--faces", "haar", "--json"),
    *("--serve", "127.0.0.1:0", "--mqtt", "mqtt://127.0.0.1:9"),
)
SERVICE_LIBRARIES = ("aiohttp", "paho", "prometheus_client")


def measure_start(
    model: Path, picture: Path, *, library: str, repeats: int = REPEATS
) -> dict[str, Any]:
    """Returns medians over processes that start, label a picture and end.

    Args:
        model: A ``.tflite`` file.
        picture: An image of one face.
        library: Distribution name of the interpreter's library.
        repeats: Number of processes of each kind.

    Returns:
        bare_ms and ours_ms to the first line on stdout; ratio, of neighbours;
        ours_peak_mb and, for a run with web page and MQTT, service_peak_mb (MiB; None
        where the system does not say, or lacks the libraries); repeats.

    Raises:
        MeasurementError: A process failed.
    """
    bare = [sys.executable, "-c", BARE.format(import_interpreter=IMPORTS[library])]
    bare += [str(model), str(picture)]
    run = ["run", str(model), "--source", str(picture), "--faces", "none", "--json"]
    ours = [sys.executable, "-m", "edge_runtime", *run]
    with compiled_modules() as variables:
        pairs = [
            (first_line_ms(bare, variables), first_line_ms(ours, variables))
            for _ in range(1 + repeats)
        ]
        peak_mb, service_mb = peak_memory_mb(run, variables), None
        if all(map(find_spec, SERVICE_LIBRARIES)):
            service_mb = peak_memory_mb(["run", str(model), *SERVICE], variables)
    pairs = pairs[1:]  # the first compiled the modules, as an installation does
    return {
        "bare_ms": statistics.median(bare_ms for bare_ms, _ in pairs),
        "ours_ms": statistics.median(ours_ms for _, ours_ms in pairs),
        "ratio": statistics.median(ours_ms / bare_ms for bare_ms, ours_ms in pairs),
        "ours_peak_mb": peak_mb,
        "service_peak_mb": service_mb,
        "repeats": repeats,
    }
