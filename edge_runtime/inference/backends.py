"""Runs a model in one of three inference libraries: uint8 pixels to float32 logits."""

from __future__ import annotations

import contextlib
import logging
import operator
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import MissingDependencyError, ModelError, why_not_loaded
from edge_runtime.inference.tensors import (
    Images,
    Logits,
    Quantization,
    TensorInfo,
    as_answer,
    dequantize,
    input_table,
    output_table,
)
from edge_runtime.model_file.container import ModelFile
from edge_runtime.model_file.pixels import RAW, PixelScaling
from edge_runtime.utils.flags import MAX_THREADS
from edge_runtime.utils.onnxruntime import import_onnxruntime
from edge_runtime.utils.stderr import suppress_stderr

logger = logging.getLogger(__name__)

ONNX_TYPES = {
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
}

# Why ONNX Runtime cannot open a file with exact products: files in QOperator form have
# no such kernel for every operator, and it rewrites weights that two operators share
# twice.
NOT_EXACT = ("NOT_IMPLEMENTED", "replace the existing tensor")


# What helps, by a part of a library's reason to refuse a file.
WAYS_OUT = {
    "edgetpu-custom-op": "it is compiled for a Coral Edge TPU: take the file that is"
    " not (without _edgetpu in its name)",
    "Select TensorFlow op": "convert it without SELECT_TF_OPS",
    "old TFLite binary": "it was converted for a newer library: install a newer one"
    " (ai-edge-litert), or convert it with an older one",
    "Unsupported model IR version": "install a newer onnxruntime, or save it again with"
    " the version that is supported (ir_version of the onnx package)",
}


class Backend(Protocol):
    """A loaded model.

    Attributes:
        name: The library's distribution name.
        version: Its version.
        input: The model's input tensor.
        output: The model's output tensor.
    """

    name: str
    version: str
    input: TensorInfo
    output: TensorInfo

    def logits(self, images: Images) -> Logits:
        """Returns float32 (N, classes) for raw pixels uint8 (N, S, S, C) in 0..255.

        Where a model without our metadata ends in a softmax, these are probabilities.
        """


class TfliteBackend:
    """A TFLite model in ai-edge-litert or tflite-runtime, one image at a time."""

    def __init__(
        self, model: bytes, name: str, interpreter: Any, pixels: PixelScaling = RAW
    ) -> None:
        """Takes an interpreter whose tensors are allocated.

        Args:
            model: The flatbuffer, kept alive as long as the interpreter reads it.
            name: The library's distribution name.
            interpreter: Its ``Interpreter``.
            pixels: What the network takes for pixels 0..255.
        """
        self.name, self.version = name, _version(name)
        self._model = model
        self._interpreter = interpreter
        inputs = interpreter.get_input_details()
        outputs = interpreter.get_output_details()
        _check_counts(inputs, outputs)
        self.input, self.output = (
            _tflite_info(inputs[0]),
            as_answer(_tflite_info(outputs[0])),
        )
        self._input_index = inputs[0]["index"]
        self._output_index = outputs[0]["index"]
        self._input_table = input_table(self.input, pixels)
        self._output_table = output_table(self.output)

    def logits(self, images: Images) -> Logits:
        """Returns float32 (N, classes) for raw pixels uint8 (N, S, S, C) in 0..255."""
        values = _look_up(self._input_table, images)
        if len(values) == 1:
            outputs = self._invoke(values)
        else:
            rows = [self._invoke(value[np.newaxis]) for value in values]
            if not rows:
                return np.empty((0, self.output.shape[1]), np.float32)
            outputs = np.concatenate(rows)
        if self._output_table is not None:
            return self._output_table.take(outputs.view(np.uint8))
        if self.output.quantization:
            return dequantize(outputs, self.output.quantization)
        return outputs.astype(np.float32, copy=False)

    def _invoke(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Returns the output (1, classes) for an input (1, S, S, C), both raw."""
        self._interpreter.set_tensor(self._input_index, values)
        try:
            self._interpreter.invoke()
        except RuntimeError as error:
            raise ModelError(f"{self.name} cannot run the model: {error}") from error
        output: npt.NDArray[Any] = self._interpreter.get_tensor(self._output_index)
        return output if output.ndim == 2 else output.reshape(1, -1)


class OnnxBackend:
    """An ONNX model in ONNX Runtime, whole batches at a time where it allows them."""

    name = "onnxruntime"

    def __init__(self, session: Any, pixels: PixelScaling = RAW) -> None:
        """Takes an open ``InferenceSession``, and what the network takes for pixels."""
        self.version = _version(self.name)
        self._session = session
        inputs, outputs = session.get_inputs(), session.get_outputs()
        _check_counts(inputs, outputs)
        self.input, self.output = (
            _onnx_info(inputs[0]),
            as_answer(_onnx_info(outputs[0])),
        )
        self._input_name = inputs[0].name
        self._input_table = input_table(self.input, pixels)

    def logits(self, images: Images) -> Logits:
        """Returns float32 (N, classes) for raw pixels uint8 (N, S, S, C) in 0..255."""
        values = _look_up(self._input_table, images)
        if not len(values):
            return np.empty((0, self.output.shape[1]), np.float32)
        if self.input.shape[0] != 1:
            rows = self._run(values)
            if len(rows) == len(values):
                return rows  # else it makes one answer of all images: each by itself
        return np.concatenate([self._run(value[np.newaxis]) for value in values])

    def _run(self, values: npt.NDArray[Any]) -> Logits:
        try:
            output = self._session.run(None, {self._input_name: values})[0]
        except Exception as error:  # its exceptions share no base but Exception
            raise ModelError(f"onnxruntime cannot run the model: {error}") from error
        rows = np.asarray(output, dtype=np.float32)
        if rows.ndim == 2:
            return rows
        return rows.reshape(1 if len(values) == 1 or rows.ndim < 2 else len(rows), -1)


def _look_up(table: npt.NDArray[Any], images: Images) -> npt.NDArray[Any]:
    """Returns the model inputs for images, in the table's dtype."""
    if table.ndim == 1:
        return table.take(images)
    return np.asarray(table[images, np.arange(table.shape[1])])


def _check_counts(inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            "expected a model with one input and one output,"
            f" got {len(inputs)} and {len(outputs)}"
        )


def _tflite_info(details: dict[str, Any]) -> TensorInfo:
    scale, zero_point = details["quantization"]
    # The interpreter makes free sizes 1.
    free = [size < 0 for size in details["shape_signature"]]
    free[:1] = [False]
    sizes = [int(size) for size in details["shape"]]
    if len(free) == len(sizes):
        sizes = [0 if one else size for one, size in zip(free, sizes, strict=True)]
    return TensorInfo(
        tuple(sizes),
        np.dtype(details["dtype"]),
        Quantization(float(scale), int(zero_point)),
    )


def _onnx_info(value: Any) -> TensorInfo:
    if value.type not in ONNX_TYPES:
        raise ModelError(f"expected a float input and output, got {value.type}")
    shape = tuple(size if isinstance(size, int) else 0 for size in value.shape)
    return TensorInfo(shape, np.dtype(ONNX_TYPES[value.type]), Quantization(0.0, 0))


def _open_tflite(
    name: str, file: ModelFile, threads: int, pixels: PixelScaling
) -> Backend:
    package = name.replace("-", "_")
    import_module(package)  # raises ImportError where it is missing
    # It imports with NumPy 2 and then fails inside Interpreter() without a reason.
    if name == "tflite-runtime" and int(np.__version__.split(".")[0]) >= 2:
        raise MissingDependencyError(
            f"tflite-runtime needs NumPy 1, got {np.__version__}:"
            " run  pip install 'numpy<2'  or use ai-edge-litert"
        )
    module = import_module(f"{package}.interpreter")
    try:
        with suppress_stderr():
            # XNNPACK fixes its thread count here; it cannot be set afterwards.
            interpreter = module.Interpreter(
                model_content=file.model, num_threads=threads
            )
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError, SystemError) as error:
        raise ModelError(
            f"{file.name}: {name} cannot load it: {_with_way_out(str(error))}"
        ) from error
    return TfliteBackend(file.model, name, interpreter, pixels)


def _with_way_out(reason: str) -> str:
    """Returns why a library cannot load a file, after what helps where it is known."""
    each = (f"{out} ({reason})" for part, out in WAYS_OUT.items() if part in reason)
    return next(each, reason)


def _onnx_session(model: bytes, threads: int, *, exact: bool) -> Any:
    """Returns a session, with exact int8 products on every processor or without."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # On x86 with AVX2 or AVX-512 but no VNNI its int8 products saturate, and logits are
    # off by more than the quantization error (onnxruntime, issue 14642). This makes
    # them exact there, at 1.3 times the time, and has no effect elsewhere.
    options.add_session_config_entry("session.x64quantprecision", str(int(exact)))
    return onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"]
    )


def _open_onnx(file: ModelFile, threads: int, pixels: PixelScaling) -> Backend:
    try:
        session = _onnx_session(file.model, threads, exact=True)
    except ImportError:
        raise
    except Exception as error:  # its exceptions share no base but Exception
        if any(reason in str(error) for reason in NOT_EXACT):
            with contextlib.suppress(Exception):
                session = _onnx_session(file.model, threads, exact=False)
                return OnnxBackend(session, pixels)
        if "external data" in str(error).lower():
            raise ModelError(
                f"{file.name} keeps its weights in another file: expected all in one;"
                " save it again with  onnx.save(onnx.load(FILE), NEW)"
            ) from error
        raise ModelError(
            f"{file.name}: onnxruntime cannot load it: {_with_way_out(str(error))}"
        ) from error
    return OnnxBackend(session, pixels)


BACKENDS: dict[str, Callable[[ModelFile, int, PixelScaling], Backend]] = {
    "ai-edge-litert": partial(_open_tflite, "ai-edge-litert"),
    "tflite-runtime": partial(_open_tflite, "tflite-runtime"),
    "onnxruntime": _open_onnx,
}
BACKENDS_BY_KIND = {
    "tflite": ("ai-edge-litert", "tflite-runtime"),
    "onnx": ("onnxruntime",),
}
EXTRAS = {
    "ai-edge-litert": "litert",
    "tflite-runtime": "tflite-runtime",
    "onnxruntime": "onnx",
}


def open_backend(
    file: ModelFile,
    name: str = "auto",
    *,
    threads: int = 1,
    pixels: PixelScaling = RAW,
) -> Backend:
    """Returns a loaded model, in the named library or the first one installed.

    Args:
        file: The model file, as ``read_model_file`` returned it.
        name: ``"auto"``, ``"ai-edge-litert"``, ``"tflite-runtime"`` or
            ``"onnxruntime"``.
        threads: CPU threads, fixed for the life of the backend.
        pixels: What the network takes for pixels 0..255.

    Raises:
        MissingDependencyError: No library for this kind of file is installed.
        ModelError: The library does not run this kind of file, or cannot load it.
        ValueError: ``threads`` is not 1 to ``MAX_THREADS``.
    """
    try:
        count = operator.index(threads)  # also of NumPy's integers
    except TypeError:
        count = 0
    if not 1 <= count <= MAX_THREADS:
        raise ValueError(f"expected 1 to {MAX_THREADS} threads, got {threads!r}")
    possible = BACKENDS_BY_KIND[file.kind]
    if name != "auto" and name not in possible:
        raise ModelError(
            f"{file.name} runs in {' or '.join(possible)}, got backend {name!r}"
        )
    tried = possible if name == "auto" else (name,)
    errors: dict[str, ImportError] = {}
    for candidate in tried:
        try:
            return BACKENDS[candidate](file, count, pixels)
        except ImportError as error:
            logger.debug("%s: %s", candidate, error)
            errors[candidate] = error
    for candidate, cause in errors.items():
        if reason := why_not_loaded(cause):
            raise MissingDependencyError(
                f"{file.name}: {candidate} cannot be loaded: {reason}"
            ) from cause
    extras = " or ".join(f"'fer-edge[{EXTRAS[name]}]'" for name in tried)
    raise MissingDependencyError(
        f"{file.name} needs {' or '.join(tried)}, which is not installed:"
        f" run  pip install {extras}"
    )


def _version(name: str) -> str:
    """Returns the version of an imported library, by its distribution's name."""
    module = sys.modules.get(name.replace("-", "_"))
    version = getattr(module, "__version__", None)
    if version is not None:
        return str(version)
    return installed_version(name) or "unknown"


def installed_version(distribution: str) -> str | None:
    """Returns the version of an installed distribution; None where it is missing."""
    # Imported only if needed: it takes a tenth of the time to an image's first label.
    import importlib.metadata

    try:
        return importlib.metadata.version(distribution)
    except (importlib.metadata.PackageNotFoundError, ValueError):  # ValueError: ""
        return None
