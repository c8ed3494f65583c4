"""A converted model, before its metadata make it a model file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_runtime.inference.backends import Backend, open_backend
from edge_runtime.model_file.container import Kind, ModelFile
from export.convert.quantize_tflite import Io

FLOAT_FORMATS = ("float32", "float16")


@dataclass(frozen=True)
class ConvertedModel:
    """A converted model, without metadata.

    Attributes:
        format: Such as ``"tflite-int8"`` or ``"onnx-float32"``, see
            ``export.convert.formats``.
        model: The model's bytes.
        io: Data type of the input and output of an int8 TFLite model.
    """

    format: str
    model: bytes
    io: Io = "int8"

    @property
    def kind(self) -> Kind:
        """``"tflite"`` or ``"onnx"``."""
        return "tflite" if self.format.startswith("tflite") else "onnx"

    @property
    def short_format(self) -> str:
        """The format without its library, such as ``"int8"``."""
        return self.format.split("-", 1)[1]

    @property
    def quantized(self) -> bool:
        """True where anything is rounded to integers."""
        return self.short_format not in FLOAT_FORMATS

    @property
    def suffix(self) -> str:
        """The end of the file name, such as ``".int8.tflite"``."""
        io = "" if self.io == "int8" else f"-io-{self.io}"
        return f".{self.short_format}{io}.{self.kind}"

    @property
    def sha256(self) -> str:
        """Hash of the model's bytes, in hexadecimal."""
        return hashlib.sha256(self.model).hexdigest()

    def open(self) -> Backend:
        """Returns the model loaded on one thread, in the library it is made for.

        Raises:
            ModelError: The library refuses it.
        """
        size = len(self.model)
        file = ModelFile("export", self.kind, self.model, None, size, self.sha256)
        name = "ai-edge-litert" if self.kind == "tflite" else "onnxruntime"
        return open_backend(file, name)

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Returns the logits for some images, float32 (N, classes).

        Args:
            images: uint8 (N, S, S, C), raw pixels.
        """
        return self.open().logits(images)
