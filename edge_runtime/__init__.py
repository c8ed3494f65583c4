"""Runs exported classifiers on a small board: one model file in, decisions out.

Needs numpy, OpenCV and one inference library; never TensorFlow or Keras.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import FerEdgeError
from edge_runtime.inference.classifier import Classifier, Prediction
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.version import VERSION

if TYPE_CHECKING:
    from edge_runtime.detection.factory import open_detector
    from edge_runtime.model_file.container import read_model_file
    from edge_runtime.outputs import frame_document
    from edge_runtime.pipeline.decisions import DecisionConfig
    from edge_runtime.pipeline.pipeline import Pipeline
    from edge_runtime.pipeline.scheduler import RoundRobinScheduler
    from edge_runtime.pipeline.still import classify_still
    from edge_runtime.sources import CameraSettings, Frame, open_source, read_image

# Imported when asked for: who classifies crops waits for no camera or detector.
_MODULES = {
    "CameraSettings": "sources",
    "DecisionConfig": "pipeline.decisions",
    "Frame": "sources",
    "Pipeline": "pipeline.pipeline",
    "RoundRobinScheduler": "pipeline.scheduler",
    "classify_still": "pipeline.still",
    "frame_document": "outputs",
    "open_detector": "detection.factory",
    "open_source": "sources",
    "read_image": "sources",
    "read_model_file": "model_file.container",
}

__all__ = [
    "CameraSettings",
    "Classifier",
    "DecisionConfig",
    "FerEdgeError",
    "Frame",
    "ModelSpec",
    "Pipeline",
    "Prediction",
    "RoundRobinScheduler",
    "__version__",
    "classify_still",
    "frame_document",
    "open_detector",
    "open_source",
    "read_image",
    "read_model_file",
]

__version__ = VERSION


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
