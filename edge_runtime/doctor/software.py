"""Python, wheels, and each inference library tried in a process of its own."""

from __future__ import annotations

import json
import platform
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_runtime.detection.base import DETECT_WIDTH_PX, YUNET_INSTALL
from edge_runtime.detection.factory import (
    open_detector,
    smallest_face_px,
    yunet_file,
)
from edge_runtime.doctor.finding import Finding
from edge_runtime.errors import FerEdgeError, MetadataError, ModelError
from edge_runtime.inference.backends import BACKENDS_BY_KIND, EXTRAS, installed_version
from edge_runtime.model_file.container import read_model_file
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.model_file.reference import read_reference
from edge_runtime.utils.argparser import invocation

TIMEOUT_S = 60.0
SLOW_FIRST_LABEL_S = 10.0
MIN_PYTHON = (3, 11)
_MODULES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
    "onnxruntime": "onnxruntime",
}
# Two distributions that write the same folder, cv2.
_OPENCV = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
_REMEDY = f"{YUNET_INSTALL}, or run with --detector-model FILE or --faces none"
PROGRAM = """
import json, sys, time
name, module, model, started = json.loads(sys.argv[1])
if model is None:
    import importlib
    from edge_runtime.utils.onnxruntime import import_onnxruntime
    import_onnxruntime() if name == "onnxruntime" else importlib.import_module(module)
    print(json.dumps(None))
else:
    import numpy as np
    from edge_runtime.inference.classifier import Classifier
    classifier = Classifier.load(model, backend=name)
    label = classifier.predict(np.full((96, 96, 3), 127, np.uint8)).label
    print(json.dumps(time.monotonic() - started))
"""


def software_findings(model: Path | None) -> list[Finding]:
    """Returns findings on Python, wheels and inference libraries.

    The libraries run the model on one image; without one they are only loaded.
    """
    numpy = Finding("numpy", "ok", np.__version__)
    findings = [_python(), numpy, _opencv()]
    if model is None:
        return [*findings, _face_detector(), *library_findings(None)]
    found, spec = _model(model)
    subject = spec.subject if spec else None
    detector = _face_detector() if subject in (None, "face") else _no_faces(subject)
    usable = model if spec else None
    return [*findings, detector, *found, *library_findings(usable)]


def _model(path: Path) -> tuple[list[Finding], ModelSpec | None]:
    try:
        file = read_model_file(path)
        if file.document is None:
            raise MetadataError(f"{file.name} has no metadata")
        spec = ModelSpec.from_document(file.document)
        drift = _drift(spec)
    except ModelError as error:
        remedy = f"{invocation()} check {path}"
        if not path.exists():
            remedy = "name a model file, or none for the released one"
        text = " ".join(str(error).split())
        return [Finding("model", "fail", text, remedy)], None
    value = f"{file.name}, {file.size / 1e6:.2f} MB, undamaged"
    return [Finding("model", "ok", value), drift], spec


def _no_faces(subject: str) -> Finding:
    value = f"not needed: the model looks at one {subject} (run with --faces none)"
    return Finding("face detector", "ok", value)


def _drift(spec: ModelSpec) -> Finding:
    """Returns what pictures are compared with while the model runs."""
    reference = read_reference(spec.reference, len(spec.labels))
    if reference is None:
        value = "compares with a run's first frames: no histograms in the model file"
        return Finding("drift", "ok", value)
    value = f"compares with {reference.images:,} validation images, in the model file"
    return Finding("drift", "ok", value)


def _python() -> Finding:
    value = f"{platform.python_version()} in {sys.prefix}"
    if sys.version_info[:2] < MIN_PYTHON:
        return Finding("Python", "fail", value, "install Python 3.11 or newer")
    return Finding("Python", "ok", value)


def _opencv() -> Finding:
    import cv2

    installed = [name for name in _OPENCV if installed_version(name)]
    value = f"{cv2.__version__} ({', '.join(installed) or 'from the system'})"
    if len(installed) > 1:
        return Finding(
            "OpenCV",
            "warn",
            value,
            "they overwrite each other: pip uninstall all of them, then pip install"
            " opencv-python-headless",
        )
    return Finding("OpenCV", "ok", value)


def _face_detector() -> Finding:
    """Returns the detector that ``run`` takes by itself, tried on one image."""
    try:
        file = yunet_file()
        detector = open_detector("auto", file)
        detector.detect(np.zeros((240, DETECT_WIDTH_PX, 3), np.uint8))
    except FerEdgeError as error:
        value, _, remedy = " ".join(str(error).split()).partition(": ")
        return Finding("face detector", "fail", value, remedy or _REMEDY)
    finds = (
        f"{detector.name}, finds faces of about"
        f" {smallest_face_px(detector.name, DETECT_WIDTH_PX, (DETECT_WIDTH_PX, 240))}"
        f" pixels in frames of {DETECT_WIDTH_PX}x240"
    )
    if file is None:
        return Finding("face detector", "warn", f"{finds}; YuNet finds more", _REMEDY)
    name = f"{file.parent.name}/{file.name}"
    return Finding("face detector", "ok", f"{finds} ({name})")


def library_findings(model: Path | None) -> list[Finding]:
    """Returns a finding for each installed inference library, and the first label's."""
    installed = [name for name in _MODULES if installed_version(name)]
    if not installed:
        return [
            Finding(
                "inference library",
                "fail",
                "none is installed",
                "pip install 'fer-edge[litert]'  (64-bit),  or"
                " 'fer-edge[tflite-runtime]'  (Python 3.11)",
            )
        ]
    trials = {name: try_library(name, _model_for(name, model)) for name in installed}
    findings = [_library(name, trials[name]) for name in installed]
    return findings + ([_first_label(model, trials)] if model else [])


def _model_for(library: str, model: Path | None) -> Path | None:
    """Returns the model if this library runs its kind."""
    kind = "onnx" if model and model.suffix.lower() == ".onnx" else "tflite"
    return model if library in BACKENDS_BY_KIND[kind] else None


@dataclass(frozen=True)
class LibraryTrial:
    """What a library did in a process of its own.

    Attributes:
        error: Why it does not work; empty where it does.
        crashed: It ended the process.
        first_label_s: Seconds from the start of the process to its first label; None
            where it was only loaded.
    """

    error: str = ""
    crashed: bool = False
    first_label_s: float | None = None


def try_library(
    name: str,
    model: Path | None,
    *,
    python: str | None = None,
    timeout_s: float = TIMEOUT_S,
) -> LibraryTrial:
    """Returns how an inference library works in a process of its own.

    Args:
        name: Its distribution name.
        model: A model to run on one image; None only loads the library.
        python: The interpreter; None takes this one.
        timeout_s: Seconds after which it counts as hanging.
    """
    path = str(model.absolute()) if model else None
    argument = json.dumps([name, _MODULES[name], path, time.monotonic()])
    try:
        completed = subprocess.run(
            [python or sys.executable, "-c", PROGRAM, argument],
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        return LibraryTrial(f"no answer within {timeout_s:g} s", crashed=True)
    code = completed.returncode
    if code < 0:
        return LibraryTrial(_signal_name(-code), crashed=True)
    lines = (completed.stderr if code else completed.stdout).strip().splitlines()
    last = lines[-1] if lines else "no output"
    if code:
        return LibraryTrial(last.rpartition("Error: ")[2])
    return LibraryTrial(first_label_s=json.loads(last))


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return f"{name}, an illegal instruction" if name == "SIGILL" else name


def _library(name: str, trial: LibraryTrial) -> Finding:
    version = installed_version(name) or "?"
    if not trial.error:
        result = "loads" if trial.first_label_s is None else "answers"
        return Finding(name, "ok", f"{version} {result}")
    if trial.crashed:
        return Finding(
            name,
            "fail",
            f"{version} crashes: {trial.error}",
            f"its wheel is not for this processor: pip install -U {name}, or pip"
            f" uninstall {name} and use another",
        )
    return Finding(
        name,
        "fail",
        f"{version}: {trial.error}",
        f"pip install --force-reinstall 'fer-edge[{EXTRAS[name]}]', or another model",
    )


def _first_label(model: Path, trials: dict[str, LibraryTrial]) -> Finding:
    """Returns the time from the start of a process to its first label, the fastest."""
    times_s = {
        name: trial.first_label_s
        for name, trial in trials.items()
        if trial.first_label_s is not None
    }
    if not times_s:
        value = f"no installed library answers with {model.name}"
        return Finding("first label", "fail", value, f"{invocation()} check {model}")
    seconds, name = min((seconds, name) for name, seconds in times_s.items())
    value = f"{seconds:.2f} s after the start ({model.name}, {name})"
    if seconds > SLOW_FIRST_LABEL_S:
        remedy = "a slow card, or the board is busy: see above"
        return Finding("first label", "warn", value, remedy)
    return Finding("first label", "ok", value)
