"""Loads a model file, checks it and classifies images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import GoldenVectorError, MetadataError, ModelError
from edge_runtime.inference.backends import Backend, open_backend
from edge_runtime.model_file.container import ModelFile, read_model_file
from edge_runtime.model_file.metadata import (
    CHANNEL_ORDERS,
    NOTHING_GIVEN,
    OUTPUTS,
    ChannelOrder,
    Given,
    GoldenVectors,
    ModelSpec,
    Output,
)
from edge_runtime.model_file.pixels import SCALINGS, PixelScaling
from edge_runtime.preprocessing import Fit, Image, to_model_input

LEAST_PROBABILITY = np.float32(1e-9)  # whose logarithm is taken


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
        pixels: PixelScaling | str | None = None,
        output: Output | None = None,
        colour: ChannelOrder | None = None,
        fit: Fit | None = None,
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
                be a square image in channels-last order.
            pixels: What such a network takes for pixels 0..255, where the file does not
                say it: ``"raw"`` (0..255), ``"unit"`` (0..1), ``"signed"`` (-1..1),
                ``"imagenet"`` or a ``PixelScaling``.
            output: What it gives, ``"logits"`` or ``"probabilities"``, where the file
                does not say it.
            colour: The order of its three channels, ``"rgb"`` (where nothing is given)
                or ``"bgr"``; ``"grey"`` where all three are the grey image.
            fit: How images that are not square become its input: ``"stretch"`` (where
                nothing is given), ``"crop"`` or ``"pad"``.
            public_key: PEM file: a model not signed with its key is refused before its
                content is read (``edge_runtime.model_file.signature``).

        Raises:
            ModelError: The file is missing, damaged, altered or not a classifier.
            SignatureError: It is not signed with the key of ``public_key``.
            GoldenVectorError: Its logits are not those of its export.
            MissingDependencyError: No library that runs it is installed.
            ValueError: ``num_threads`` is not 1 to 256, or what is given is none of
                these.
        """
        given = _given(labels, pixels, output, colour, fit)
        file = read_model_file(
            model_path(path),
            public_key=Path(public_key) if public_key is not None else None,
        )
        return cls.from_file(
            file,
            num_threads=num_threads,
            backend=backend,
            given=given,
        )

    @classmethod
    def from_file(
        cls,
        file: ModelFile,
        *,
        num_threads: int = 1,
        backend: str = "auto",
        given: Given = NOTHING_GIVEN,
    ) -> Classifier:
        """Returns a classifier for a file that was already read.

        Args:
            file: As ``read_model_file`` returned it.
            num_threads: As for ``load``.
            backend: The same.
            given: Its ``labels``, ``pixels``, ``output``, ``colour`` and ``fit``.

        Raises:
            ModelError: As ``load``.
        """
        if file.document is None:
            from edge_runtime.inference import foreign  # rarely needed

            spec, loaded = foreign.open_foreign(file, given, backend, num_threads)
            return cls(file, spec, loaded)
        # Metadata first: libraries may crash on a truncated file.
        spec = _spec_in_file(file, given)
        loaded = open_backend(file, backend, threads=num_threads)
        _check_tensors(spec, loaded, file.name)
        difference = _replay(spec.golden, loaded, file.name) if spec.golden else None
        return cls(file, spec, loaded, golden_difference=difference)

    def logits(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Returns the network's output, float32 (N, classes).

        Of a network that gives probabilities, their logarithms.

        Args:
            batch: uint8 (N, S, S, C) or (N, S, S) for grey, as ``prepare`` makes it.

        Raises:
            ValueError: The batch has another shape or type.
        """
        outputs = self._outputs(self._checked(batch))
        if self.spec.output == "logits":
            return outputs
        return np.log(np.maximum(outputs, LEAST_PROBABILITY))

    def probabilities(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Returns float32 (N, classes) whose rows sum to 1.

        Of a network that gives probabilities, these: they sum to 1 as far as it does.

        Args:
            batch: As for ``logits``.
        """
        return self._probabilities(self._outputs(self._checked(batch)))

    def _checked(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Returns a batch with its channel axis, if it fits the network."""
        shape = self._input_shape
        if batch.ndim == 3 and shape[2] == 1:
            batch = batch[..., np.newaxis]
        if batch.dtype != np.uint8 or batch.shape[1:] != shape:
            raise ValueError(
                f"expected uint8 (N, {', '.join(map(str, shape))}),"
                f" got {batch.dtype} {batch.shape}"
            )
        return batch

    def _outputs(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Returns what the network gives, float32 (N, classes)."""
        outputs = self.backend.logits(batch)
        if outputs.shape[1] == len(self.spec.labels):
            return outputs
        # One number for two classes is that of the second.
        first = 1 - outputs if self.spec.output == "probabilities" else 0 * outputs
        return np.concatenate([first, outputs], axis=1)

    def _probabilities(
        self, outputs: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        if self.spec.output == "probabilities":
            return outputs
        return softmax(outputs, self.spec.temperature)

    def prepare(self, image: Image) -> npt.NDArray[np.uint8]:
        """Returns an image as a model input, uint8 (S, S, C).

        Args:
            image: uint8 (H, W) grey or (H, W, 3) BGR of any size.
        """
        spec = self.spec
        return to_model_input(image, spec.size_px, spec.colour, spec.fit)

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
        outputs = self._outputs(self.prepare(image)[np.newaxis])
        probabilities = self._probabilities(outputs)[0]
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


def _given(
    labels: Sequence[str] | None,
    pixels: PixelScaling | str | None,
    output: Output | None,
    colour: ChannelOrder | None,
    fit: Fit | None,
) -> Given:
    """Returns what a program says of a file; raises ValueError for anything else."""
    if isinstance(labels, str):
        raise ValueError(f"expected a list of labels, got {labels!r}")
    if isinstance(pixels, str) and pixels in SCALINGS:
        pixels = SCALINGS[pixels]
    if not isinstance(pixels, PixelScaling | None):
        raise ValueError(
            f"expected pixels of {', '.join(SCALINGS)} or a PixelScaling, got"
            f" {pixels!r}"
        )
    if output not in (None, *OUTPUTS):
        raise ValueError(f"expected output of {', '.join(OUTPUTS)}, got {output!r}")
    if colour not in (None, *CHANNEL_ORDERS):
        raise ValueError(
            f"expected colour of {', '.join(CHANNEL_ORDERS)}, got {colour!r}"
        )
    if fit not in (None, *get_args(Fit)):
        raise ValueError(f"expected fit of {', '.join(get_args(Fit))}, got {fit!r}")
    return Given(labels, pixels, output, colour, fit)


def _spec_in_file(file: ModelFile, given: Given) -> ModelSpec:
    """Returns a file's metadata, which nothing given may contradict."""
    spec = ModelSpec.from_document(file.document or {})
    if given.labels is not None and tuple(given.labels) != spec.labels:
        raise MetadataError(
            f"{file.name} names its own labels {list(spec.labels)}: leave out --labels"
        )
    scaled = given.pixels not in (None, spec.pixels)
    if scaled or given.output not in (None, spec.output):
        raise MetadataError(
            f"{file.name} has metadata: it takes raw pixels and gives logits; leave out"
            " --pixels and --model-output"
        )
    if given.colour not in (None, spec.colour):
        raise MetadataError(
            f"{file.name} has metadata: it takes {spec.colour}; leave out --colour"
        )
    if given.fit not in (None, spec.fit):
        raise MetadataError(
            f"{file.name} has metadata: its fit is {spec.fit}; leave out --fit"
        )
    return spec


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
