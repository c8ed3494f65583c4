"""Model bytes into model files: metadata, golden vectors, and the checks before."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.backends import open_backend
from edge_runtime.classifier import Classifier
from edge_runtime.container import Kind, ModelFile, attach
from edge_runtime.errors import ModelError
from edge_runtime.spec import GoldenVectors, ModelSpec, golden_patterns
from train import metrics
from train.splits import Split

# Between libraries, kernels round differently: measured on these networks, int8 logits
# differ by up to a few steps on the golden patterns. A swapped colour order or a wrong
# scale changes them by tens.
INT8_STEPS_ELSEWHERE = 12
# Share of the largest golden logit. float32 sums differ in their last digits; ONNX
# Runtime picks int8 kernels by CPU, and some of them saturate.
FLOAT_TOLERANCE = 1e-4
ONNX_INT8_TOLERANCE = 0.1
LEAST_FLOAT_AGREEMENT = 0.999


@dataclass(frozen=True)
class Draft:
    """A converted model that is not yet a model file.

    Attributes:
        format: ``"tflite-float32"``, ``"tflite-int8"``, ``"onnx-float32"`` or
            ``"onnx-int8"``.
        model: The model's bytes, without metadata.
    """

    format: str
    model: bytes

    @property
    def kind(self) -> Kind:
        """``"tflite"`` or ``"onnx"``."""
        return "tflite" if self.format.startswith("tflite") else "onnx"

    @property
    def quantized(self) -> bool:
        """True for int8."""
        return self.format.endswith("int8")

    @property
    def suffix(self) -> str:
        """The end of the file name, such as ``".int8.tflite"``."""
        return f".{self.format.split('-')[1]}.{self.kind}"

    @property
    def sha256(self) -> str:
        """Hash of the model's bytes, in hexadecimal."""
        return hashlib.sha256(self.model).hexdigest()


def with_golden(spec: ModelSpec, draft: Draft) -> ModelSpec:
    """Returns the spec for a draft: its format, and what it answers here and now."""
    file = ModelFile("export", draft.kind, draft.model, None, len(draft.model))
    name = "ai-edge-litert" if draft.kind == "tflite" else "onnxruntime"
    backend = open_backend(file, name)
    inputs = golden_patterns(spec)
    logits = backend.logits(inputs)
    if not np.isfinite(logits).all():
        raise ModelError(f"{draft.format}: the logits are not finite")
    largest = float(np.abs(logits).max())
    if not draft.quantized:
        here = elsewhere = FLOAT_TOLERANCE * max(1.0, largest)
    elif draft.kind == "tflite":
        # The same integers on every CPU, so nothing is allowed to differ.
        here, elsewhere = 0.0, INT8_STEPS_ELSEWHERE * backend.output.quantization.scale
    else:
        here = elsewhere = ONNX_INT8_TOLERANCE * max(1.0, largest)
    golden = GoldenVectors(
        inputs,
        logits,
        backend.name,
        backend.version,
        round(here, 6),
        round(elsewhere, 6),
    )
    return replace(spec, format=draft.format, golden=golden)


def file_bytes(spec: ModelSpec, draft: Draft) -> bytes:
    """Returns the finished file's bytes."""
    return attach(draft.model, spec.to_document(), draft.kind)


def logits_of(
    content: bytes, draft: Draft, images: npt.NDArray[np.uint8]
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


def require_agreement(draft: Draft, figures: dict[str, Any]) -> None:
    """Raises ModelError if a float file answers otherwise than the Keras model."""
    if draft.quantized or figures["agreement"] >= LEAST_FLOAT_AGREEMENT:
        return
    raise ModelError(
        f"{draft.format} agrees with the Keras model on {figures['agreement']:.2%} of"
        f" {figures['count']:,} images, expected {LEAST_FLOAT_AGREEMENT:.1%}:"
        " nothing was written"
    )
