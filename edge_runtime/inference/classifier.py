"""Loads a model file, checks it and classifies images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import GoldenVectorError, MetadataError, ModelError
from edge_runtime.inference.backends import Backend, open_backend
from edge_runtime.model_file.container import ModelFile, read_model_file
from edge_runtime.model_file.metadata import GoldenVectors, ModelSpec, check_labels
from edge_runtime.preprocessing import Colour, Image, to_model_input

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """The result for one image.

    Attributes:
        label: Name of the most probable class.
        confidence: Its probability, 0..1.
        probabilities: float32 (classes,), in the order of the model's labels; sums
            to 1.
    """

    label: str
    confidence: float
    probabilities: npt.NDArray[np.float32]


class Classifier:
    """A loaded model file.

    Attributes:
        file: The content of the model file.
        spec: Its metadata.
        backend: The library that runs it.
        golden_difference: Maximum difference between a logit and the golden vectors',
            replayed when it was loaded; None for a file without golden vectors.

    Examples:
        >>> import cv2
        >>> classifier = Classifier.load("fer2013.int8.tflite", num_threads=2)
        >>> prediction = classifier.predict(cv2.imread("face.png"))
        >>> prediction.label
        'happy'
        >>> prediction.probabilities.shape
        (7,)
    """

    def __init__(
        self,
        file: ModelFile,
        spec: ModelSpec,
        backend: Backend,
        *,
        golden_difference: float | None = None,
    ) -> None:
        """Takes a file that was read and loaded; use ``load``."""
        self.file = file
        self.spec = spec
        self.backend = backend
        self.golden_difference = golden_difference
        self._input_shape = spec.input_shape

    @classmethod
    def load(
        cls,
        path: Path | str | None = None,
        *,
        num_threads: int = 1,
        backend: str = "auto",
        labels: Sequence[str] | None = None,
        public_key: Path | str | None = None,
    ) -> Classifier:
        """Returns a classifier, after checking that its file is as it was exported.

        Checks the hashes, the metadata against the tensors, and the logits of the
        golden vectors.

        Args:
            path: A ``.tflite`` or ``.onnx`` file, or the name of a released model;
                None for the default one (``edge_runtime.model_file.released``).
            num_threads: CPU threads.
            backend: Inference library, see ``inference.backends.open_backend``.
            labels: Class names in order, for a model without metadata, whose input must
                be raw pixels 0..255 in channels-last order.
            public_key: PEM file: a model not signed with its key is refused before its
                content is read (``edge_runtime.model_file.signature``).

        Raises:
            ModelError: The file is missing, damaged, altered or not a classifier.
            SignatureError: It is not signed with the key of ``public_key``.
            GoldenVectorError: Its logits are not those of its export.
            MissingDependencyError: No library that runs it is installed.
            ValueError: ``num_threads`` is not 1 to 256.
        """
        file = read_model_file(
            model_path(path),
            public_key=Path(public_key) if public_key is not None else None,
        )
        return cls.from_file(
            file, num_threads=num_threads, backend=backend, labels=labels
        )

    @classmethod
    def from_file(
        cls,
        file: ModelFile,
        *,
        num_threads: int = 1,
        backend: str = "auto",
        labels: Sequence[str] | None = None,
    ) -> Classifier:
        """Returns a classifier for a file that was already read.

        Args:
            file: As ``read_model_file`` returned it.
            num_threads: As for ``load``.
            backend: The same.
            labels: The same.

        Raises:
            ModelError: As ``load``.
        """
        # Metadata first: libraries may crash on a truncated file.
        spec = _spec_in_file(file, labels)
        loaded = open_backend(file, backend, threads=num_threads)
        spec = spec or _assumed_spec(file.name, loaded, labels or ())
        _check_tensors(spec, loaded, file.name)
        difference = _replay(spec.golden, loaded, file.name) if spec.golden else None
        return cls(file, spec, loaded, golden_difference=difference)

    def logits(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Returns the network's output, float32 (N, classes).

        Args:
            batch: uint8 (N, S, S, C) or (N, S, S) for grey, as ``prepare`` makes it.

        Raises:
            ValueError: The batch has another shape or type.
        """
        shape = self._input_shape
        if batch.ndim == 3 and shape[2] == 1:
            batch = batch[..., np.newaxis]
        if batch.dtype != np.uint8 or batch.shape[1:] != shape:
            raise ValueError(
                f"expected uint8 (N, {', '.join(map(str, shape))}),"
                f" got {batch.dtype} {batch.shape}"
            )
        return self.backend.logits(batch)

    def probabilities(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Returns float32 (N, classes) whose rows sum to 1.

        Args:
            batch: As for ``logits``.
        """
        return softmax(self.logits(batch), self.spec.temperature)

    def prepare(self, image: Image) -> npt.NDArray[np.uint8]:
        """Returns an image as a model input, uint8 (S, S, C).

        Args:
            image: uint8 (H, W) grey or (H, W, 3) BGR of any size.
        """
        return to_model_input(image, self.spec.size_px, self.spec.colour)

    def predict(self, image: Image) -> Prediction:
        """Returns the label and probabilities of one image.

        Args:
            image: uint8 (H, W) grey or (H, W, 3) BGR, any size, 0..255: resized as in
                training. The whole image is the face.

        Raises:
            ValueError: It is not such an image; ``cv2.imread`` returns None for a file
                that it cannot read.
        """
        if not isinstance(image, np.ndarray):
            raise ValueError(
                "expected an image (uint8 array, as cv2.imread returns it),"
                f" got {type(image).__name__}"
            )
        logits = self.backend.logits(self.prepare(image)[np.newaxis])
        probabilities = softmax(logits[0], self.spec.temperature)
        best = int(probabilities.argmax())
        return Prediction(
            self.spec.labels[best], float(probabilities[best]), probabilities
        )


def softmax(
    logits: npt.NDArray[Any], temperature: float = 1.0
) -> npt.NDArray[np.float32]:
    """Returns probabilities, float32 of the logits' shape; the last axis sums to 1.

    Args:
        logits: Real numbers, (..., classes).
        temperature: Divides the logits; above 1 it lowers the highest probability.
    """
    values = logits.astype(np.float64)
    values /= temperature
    values -= np.maximum.reduce(values, axis=-1, keepdims=True)
    np.exp(values, out=values)
    values /= np.add.reduce(values, axis=-1, keepdims=True)
    return values.astype(np.float32)


def model_path(model: Path | str | None) -> Path:
    """Returns the path of a model file.

    Args:
        model: The path itself, the name of a released model, or None for the released
            model that is the default.

    Raises:
        ModelError: There is no released model of this name.
    """
    if model is not None and Path(model).suffix:
        return Path(model)
    from edge_runtime.model_file.released import find_released  # not with a path

    return find_released(model).path


def _spec_in_file(file: ModelFile, labels: Sequence[str] | None) -> ModelSpec | None:
    """Returns a file's metadata; None where it has none but labels were given."""
    if file.document is None:
        if file.kind == "tflite":
            from edge_runtime.graph.tflite import read_tflite  # rarely needed

            read_tflite(file.model)  # libraries crash on a truncated file
        if labels is None:
            raise MetadataError(
                f"{file.name} has no metadata: give its class names in order, as in"
                "  --labels cat,dog  (or export it with python -m export)"
            )
        return None
    spec = ModelSpec.from_document(file.document)
    if labels is not None and tuple(labels) != spec.labels:
        raise MetadataError(
            f"{file.name} names its own labels {list(spec.labels)}: leave out --labels"
        )
    return spec


def _assumed_spec(name: str, backend: Backend, labels: Sequence[str]) -> ModelSpec:
    logger.warning("%s has no metadata: its input is taken as raw pixels 0..255", name)
    shape = backend.input.shape
    square = len(shape) == 4 and shape[1] == shape[2] and shape[1] > 0
    if not square or shape[3] not in (1, 3):
        raise ModelError(
            f"{name}: expected a square image input (N, S, S, 1 or 3), got {shape}"
        )
    colour: Colour = "grey" if shape[3] == 1 else "rgb"
    return ModelSpec(check_labels(labels), shape[1], colour)


def _check_tensors(spec: ModelSpec, backend: Backend, name: str) -> None:
    if backend.input.shape[1:] != spec.input_shape:
        raise ModelError(
            f"{name}: its metadata name an input of {spec.input_shape},"
            f" its tensor is {backend.input.shape[1:]}"
        )
    if backend.output.shape[1:] != (len(spec.labels),):
        raise ModelError(
            f"{name}: expected one output per label ({len(spec.labels)}),"
            f" got an output of shape {backend.output.shape}"
        )


def _replay(golden: GoldenVectors, backend: Backend, name: str) -> float:
    """Returns the maximum difference from the golden logits, if it is tolerable."""
    difference = float(np.abs(backend.logits(golden.inputs) - golden.logits).max())
    same = (backend.name, backend.version) == (golden.runtime, golden.version)
    allowed = golden.tolerance if same else golden.tolerance_elsewhere
    # Also fails for NaN. The constant is the rounding of the stored figures.
    if not difference <= allowed + 1e-5:
        raise GoldenVectorError(
            f"{name} gives other logits than when it was exported: one differs by"
            f" {difference:.4g}, allowed is {allowed:.4g} ({backend.name}"
            f" {backend.version} here, {golden.runtime} {golden.version} then);"
            " reinstall that version or export the model again"
        )
    return difference
