"""From the start of a process to its first label, and the memory it has then."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.latency.cold_start import environment
from edge_runtime.errors import MeasurementError

REPEATS = 15  # of five the median was 1.25 to 1.57 in runs of the same code
TIMEOUT_S = 120
# The least that anybody could write: imports, the file, one call.
BARE = """
import sys
import cv2
import numpy as np
{import_interpreter}

interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
(image,) = interpreter.get_input_details()
(answer,) = interpreter.get_output_details()
picture = cv2.imread(sys.argv[2], cv2.IMREAD_GRAYSCALE)
face = cv2.resize(picture, tuple(image["shape"][1:3]), interpolation=cv2.INTER_AREA)
face = np.broadcast_to(face[None, ..., None], image["shape"])
if image["dtype"] == np.int8:
    face = face.astype(np.int16) - 128
interpreter.set_tensor(image["index"], face.astype(image["dtype"]))
interpreter.invoke()
print(int(interpreter.get_tensor(answer["index"]).argmax()), flush=True)
"""
# The command as it is typed, and then how much memory it took at most. (What a parent
# is told of its child, ru_maxrss, contains the parent's own memory before the exec.)
MEASURED = """
import sys
from edge_runtime.__main__ import main
code = main(sys.argv[1:])
with open("/proc/self/status") as status:
    peak = next(line for line in status if line.startswith("VmHWM:"))
print(peak, file=sys.stderr)
sys.exit(code)
"""
# A camera for three seconds, a page that nobody opens and a broker that is not there.
SERVICE_FRAMES = 90
SERVICE = (
    *("--source", f"fake:scene?frames={SERVICE_FRAMES}", "--faces", "haar", "--json"),
    *("--serve", "127.0.0.1:0", "--mqtt", "mqtt://127.0.0.1:9"),
)
SERVICE_LIBRARIES = ("aiohttp", "paho", "prometheus_client")
IMPORTS = {
    "ai-edge-litert": "from ai_edge_litert.interpreter import Interpreter",
    "tflite-runtime": "from tflite_runtime.interpreter import Interpreter",
}


def measure_start(model: Path, picture: Path, *, library: str) -> dict[str, Any]:
    """Returns medians over processes that start, label a picture and end.

    Args:
        model: A ``.tflite`` file.
        picture: Of one face.
        library: Distribution name of the interpreter's library.

    Returns:
        bare_ms and ours_ms to the first line on stdout; ratio, of neighbours;
        ours_peak_mb and, of a run with web page and MQTT, service_peak_mb (MiB; None
        where the system does not tell, or has not what these two need); repeats.

    Raises:
        MeasurementError: A process failed.
    """
    bare = [sys.executable, "-c", BARE.format(import_interpreter=IMPORTS[library])]
    asked = ["run", str(model), "--source", str(picture), "--faces", "none", "--json"]
    mine = [sys.executable, "-m", "edge_runtime", *asked]
    pairs = []
    with tempfile.TemporaryDirectory() as compiled:
        surroundings = _compiled_in(compiled)
        for _ in range(1 + REPEATS):
            bare_ms = _first_line_ms([*bare, str(model), str(picture)], surroundings)
            pairs.append((bare_ms, _first_line_ms(mine, surroundings)))
        measured = [sys.executable, "-c", MEASURED]
        peak_mb = _peak_mb([*measured, *asked], surroundings)
        service_mb = None
        if all(map(find_spec, SERVICE_LIBRARIES)):
            service = [*measured, "run", str(model), *SERVICE]
            service_mb = _peak_mb(service, surroundings)
    pairs = pairs[1:]  # the first compiled the modules, as an installation does
    return {
        "bare_ms": statistics.median(bare for bare, _ in pairs),
        "ours_ms": statistics.median(ours for _, ours in pairs),
        "ratio": statistics.median(ours / bare for bare, ours in pairs),
        "ours_peak_mb": peak_mb,
        "service_peak_mb": service_mb,
        "repeats": REPEATS,
    }


def _compiled_in(folder: str) -> dict[str, str]:
    """Returns an environment in which Python keeps compiled modules in a folder.

    Where PYTHONDONTWRITEBYTECODE is set, a checkout would be compiled in each process,
    and what pip has installed would not.
    """
    kept = environment() | {"PYTHONPYCACHEPREFIX": folder}
    return {key: kept[key] for key in kept if key != "PYTHONDONTWRITEBYTECODE"}


def _first_line_ms(command: Sequence[str], surroundings: dict[str, str]) -> float:
    started = time.perf_counter()
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=surroundings,
        text=True,
    ) as process:
        line = process.stdout.readline() if process.stdout else ""
        taken_ms = 1000 * (time.perf_counter() - started)
        process.communicate(timeout=TIMEOUT_S)
    if process.returncode or not line.strip():
        raise MeasurementError(
            f"a fresh process gave no label: run  {' '.join(command[:4])} ...  by hand"
        )
    return taken_ms


def _peak_mb(command: Sequence[str], surroundings: dict[str, str]) -> float | None:
    if not Path("/proc/self/status").exists():
        return None
    done = subprocess.run(
        command, capture_output=True, env=surroundings, text=True, timeout=TIMEOUT_S
    )
    found = [line for line in done.stderr.splitlines() if line.startswith("VmHWM:")]
    if done.returncode or not found:
        raise MeasurementError("a fresh process did not tell its memory")
    json.loads(done.stdout.splitlines()[0])  # it answered
    return int(found[0].split()[1]) / 1024
