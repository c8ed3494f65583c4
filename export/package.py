"""Model bytes into model files: metadata, golden vectors, and the checks before."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import ModelError
from edge_runtime.graph.tflite import read_tflite
from edge_runtime.inference.backends import Backend, open_backend
from edge_runtime.inference.classifier import Classifier
from edge_runtime.model_file.container import Kind, ModelFile, attach
from edge_runtime.model_file.metadata import GoldenVectors, ModelSpec, golden_patterns
from export.convert.recipes import Io
from train import metrics
from train.data.splits import Split

# Between libraries, kernels round differently: measured on these networks, int8 logits
# differ by up to a few steps on the golden patterns. A swapped colour order or a wrong
# scale changes them by tens.
INT8_STEPS_ELSEWHERE = 12
# Share of the largest golden logit. float32 sums differ in their last digits; ONNX
# Runtime picks int8 kernels by CPU, and some of them saturate.
FLOAT_TOLERANCE = 1e-4
ONNX_INT8_TOLERANCE = 0.1
# 16 bits: 1 step apart in all networks measured; a step is 1/65536 of the range.
INT16_STEPS_ELSEWHERE = 64
# Activations are rounded by what the float sums before them gave, so the last digit of
# a sum may move a value by a step. Between ai-edge-litert and tflite-runtime 0.5 % of
# the largest logit was measured.
ROUNDED_TOLERANCE, ROUNDED_ELSEWHERE = 0.02, 0.1
LEAST_AGREEMENT = {"float32": 0.999, "float16": 0.99}
# Largest difference from the Keras model on the golden patterns, as a share of the
# largest logit: float16 weights have 11 bits, and the errors of many layers add up.
SAME_FUNCTION = {"float32": 1e-3, "float16": 0.05}
# Large images have fewer golden vectors, so that the metadata stay within its limit.
LARGE_PX, FEW_PATTERNS = 512, 2


@dataclass(frozen=True)
class ConvertedModel:
    """A converted model that is not yet a model file.

    Attributes:
        format: Such as ``"tflite-int8"`` or ``"onnx-float32"``, see
            ``export.convert.formats``.
        model: The model's bytes, without metadata.
        io: Type of the ends of an int8 TFLite model.
    """

    format: str
    model: bytes
    io: Io = "int8"

    @property
    def kind(self) -> Kind:
        """``"tflite"`` or ``"onnx"``."""
        return "tflite" if self.format.startswith("tflite") else "onnx"

    @property
    def short(self) -> str:
        """The format without its library, such as ``"int8"``."""
        return self.format.split("-", 1)[1]

    @property
    def quantized(self) -> bool:
        """True where anything is rounded to integers."""
        return self.short not in LEAST_AGREEMENT

    @property
    def suffix(self) -> str:
        """The end of the file name, such as ``".int8.tflite"``."""
        end = "" if self.io == "int8" else f"-io-{self.io}"
        return f".{self.short}{end}.{self.kind}"

    @property
    def sha256(self) -> str:
        """Hash of the model's bytes, in hexadecimal."""
        return hashlib.sha256(self.model).hexdigest()


def model_logits(
    draft: ConvertedModel, images: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """Returns a draft's logits, float32 (N, classes), before it is a model file.

    Args:
        draft: The model.
        images: uint8 (N, S, S, C).
    """
    return open_draft(draft).logits(images)


def open_draft(draft: ConvertedModel) -> Backend:
    """Returns a draft loaded on one thread, in the library that files are made for."""
    size = len(draft.model)
    file = ModelFile("export", draft.kind, draft.model, None, size, draft.sha256)
    name = "ai-edge-litert" if draft.kind == "tflite" else "onnxruntime"
    return open_backend(file, name)


def with_golden(spec: ModelSpec, draft: ConvertedModel) -> ModelSpec:
    """Returns the spec for a draft: its format, and what it answers here and now."""
    backend = open_draft(draft)
    inputs = golden_patterns(spec)
    if spec.size_px > LARGE_PX:
        inputs = inputs[:FEW_PATTERNS]
    logits = backend.logits(inputs)
    if not np.isfinite(logits).all():
        raise ModelError(f"{draft.format}: the logits are not finite")
    largest = max(1.0, float(np.abs(logits).max()))
    here, elsewhere = _tolerances(draft, largest)
    golden = GoldenVectors(
        inputs,
        logits,
        backend.name,
        backend.version,
        round(here, 6),
        round(elsewhere, 6),
    )
    return replace(spec, format=draft.format, golden=golden)


def _tolerances(draft: ConvertedModel, largest: float) -> tuple[float, float]:
    """Returns by how much a logit may differ, here and in other libraries.

    Args:
        draft: The model.
        largest: The largest golden logit, at least 1.
    """
    if draft.format == "onnx-int8":
        return ONNX_INT8_TOLERANCE * largest, ONNX_INT8_TOLERANCE * largest
    if not draft.quantized:
        return FLOAT_TOLERANCE * largest, FLOAT_TOLERANCE * largest
    if draft.short in ("int8", "int16x8"):
        # The same integers on every CPU, so nothing is allowed to differ.
        steps = INT8_STEPS_ELSEWHERE if draft.short == "int8" else INT16_STEPS_ELSEWHERE
        return 0.0, steps * logit_step(draft.model)
    return ROUNDED_TOLERANCE * largest, ROUNDED_ELSEWHERE * largest


def logit_step(model: bytes) -> float:
    """Returns the step between logits of an integer TFLite model.

    Where the output is dequantized inside, the step of what it is made from.
    """
    graph = read_tflite(model)
    output = graph.outputs[0]
    if not len(graph.tensors[output].scales):
        output = graph.producers[output].inputs[0]
    return float(graph.tensors[output].scales[0])


def file_bytes(spec: ModelSpec, draft: ConvertedModel) -> bytes:
    """Returns the finished file's bytes."""
    return attach(draft.model, spec.to_document(), draft.kind)


def logits_of(
    content: bytes, draft: ConvertedModel, images: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """Returns a finished file's logits, through ``edge_runtime`` as on the device.

    Args:
        content: The file's bytes.
        draft: What it was made from.
        images: uint8 (N, S, S, C).

    Returns:
        float32 (N, classes).
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{draft.suffix}"
        path.write_bytes(content)
        return Classifier.load(path).logits(images)


def compare(
    split: Split,
    reference: npt.NDArray[np.float32],
    logits: npt.NDArray[np.float32],
    classes: int,
) -> dict[str, Any]:
    """Returns a file's figures on labelled images, JSON-ready.

    Args:
        split: Images and true labels.
        reference: float32 (N, classes), the Keras model's logits.
        logits: float32 (N, classes), the file's.
        classes: Number of classes.
    """
    answers = logits.argmax(axis=1)
    matrix = metrics.confusion_matrix(split.labels, answers, classes)
    right = int(np.trace(matrix))
    return {
        "count": len(split),
        "accuracy": round(metrics.accuracy(matrix), 5),
        "accuracy_95": [
            round(bound, 5) for bound in metrics.wilson_interval(right, len(split))
        ],
        "macro_f1": round(metrics.macro_f1(matrix), 5),
        "agreement": round(float(np.mean(answers == reference.argmax(axis=1))), 5),
    }


def largest_difference(
    reference: npt.NDArray[np.float32], logits: npt.NDArray[np.float32]
) -> float:
    """Returns the largest difference between two logits of the same place."""
    return round(float(np.abs(reference - logits).max()), 5)


def require_agreement(draft: ConvertedModel, figures: dict[str, Any]) -> None:
    """Raises ModelError if a float file answers otherwise than the Keras model."""
    least = LEAST_AGREEMENT.get(draft.short, 0.0)
    if figures["agreement"] >= least:
        return
    raise ModelError(
        f"{draft.format} agrees with the Keras model on {figures['agreement']:.2%} of"
        f" {figures['count']:,} images, expected {least:.1%}: nothing was written"
    )


def require_same_function(
    draft: ConvertedModel, golden: GoldenVectors, reference: npt.NDArray[np.float32]
) -> None:
    """Raises ModelError if a float file answers the golden patterns otherwise.

    Args:
        draft: The model, float32 or float16.
        golden: Its golden vectors.
        reference: float32 (N, classes), the Keras model's logits for them.
    """
    share = SAME_FUNCTION[draft.short]
    allowed = share * max(1.0, float(np.abs(reference).max()))
    difference = largest_difference(reference, golden.logits)
    if not difference <= allowed:  # written so that NaN fails
        raise ModelError(
            f"{draft.format} answers otherwise than the Keras model: a logit differs by"
            f" {difference:.3g}, allowed is {allowed:.3g}; nothing was written"
        )
