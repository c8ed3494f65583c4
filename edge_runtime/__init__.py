"""Runs exported classifiers on a small board: one model file in, decisions out.

Needs numpy, OpenCV and one inference library; never TensorFlow or Keras.
"""

from edge_runtime.errors import FerEdgeError
from edge_runtime.inference.classifier import Classifier, Prediction
from edge_runtime.model_file.metadata import ModelSpec
from edge_runtime.version import VERSION

__all__ = ["Classifier", "FerEdgeError", "ModelSpec", "Prediction", "__version__"]

__version__ = VERSION
