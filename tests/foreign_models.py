"""TFLite files such as others make: one matrix product, with what stands around it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

FULLY_CONNECTED, SOFTMAX, LOGISTIC, LOG_SOFTMAX, RESHAPE = 9, 25, 14, 50, 22
FIRST = {"ADD": 0, "MUL": 18, "SUB": 41, "DIV": 42}
EXP, SUM, QUANTIZE, SLICE, CONCATENATION, ARG_MAX = 47, 74, 114, 65, 2, 56
TYPES = {"float32": 0, "int32": 2, "uint8": 3, "int64": 4, "int8": 9}
SIZE = 4


class Quantization(NamedTuple):
    """The type, scale and zero point of an 8-bit input."""

    dtype: str
    scale: float
    zero_point: int


def _flatbuffers() -> Any:
    return pytest.importorskip("flatbuffers", reason="writes TFLite files")


class Writer:
    """Collects tensors and operators of a model, and writes it."""

    def __init__(self) -> None:
        self.schema = pytest.importorskip(
            "ai_edge_litert.schema_py_generated", reason="writes TFLite files"
        )
        self.model = self.schema.ModelT()
        self.model.version = 3
        self.model.buffers = [self.schema.BufferT()]
        self.model.operatorCodes, self.model.metadata = [], []
        self.graph = self.schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str = "float32",
        values: npt.NDArray[Any] | None = None,
        quantization: tuple[float, int] | None = None,
    ) -> int:
        tensor = self.schema.TensorT()
        tensor.shape, tensor.type = list(shape), TYPES[dtype]
        tensor.name = f"tensor_{len(self.graph.tensors)}"
        tensor.buffer = 0 if values is None else self.buffer(values.astype(dtype))
        if quantization:
            tensor.quantization = self.schema.QuantizationParametersT()
            tensor.quantization.scale = np.array([quantization[0]], np.float32)
            tensor.quantization.zeroPoint = np.array([quantization[1]], np.int64)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def buffer(self, values: npt.NDArray[Any] | bytes) -> int:
        buffer = self.schema.BufferT()
        data = values if isinstance(values, bytes) else values.tobytes()
        buffer.data = np.frombuffer(data, np.uint8)
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def operator(
        self, code: int, inputs: Sequence[int], output: int, options: str = ""
    ) -> int:
        entry = self.schema.OperatorCodeT()
        entry.builtinCode, entry.deprecatedBuiltinCode = code, min(code, 127)
        entry.version = 4 if code == FULLY_CONNECTED else 1
        self.model.operatorCodes.append(entry)
        operator = self.schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = list(inputs), [output]
        if options:
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(self.schema, f"{options}T")()
            if options == "SoftmaxOptions":
                operator.builtinOptions.beta = 1.0
        self.graph.operators.append(operator)
        return output

    def metadata(self, content: bytes) -> None:
        entry = self.schema.MetadataT()
        entry.name, entry.buffer = "TFLITE_METADATA", self.buffer(content)
        self.model.metadata.append(entry)

    def to_bytes(self, output: int) -> bytes:
        flatbuffers = _flatbuffers()
        self.graph.inputs, self.graph.outputs = [0], [output]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def weights(classes: int) -> npt.NDArray[np.float32]:
    """The i-th class answers to the i-th channel, more to the left half."""
    pattern = np.zeros((classes, SIZE, SIZE, 3), np.float32)
    for i in range(classes):
        pattern[i, :, : SIZE // 2, i % 3] = 1 + i // 3
    return pattern.reshape(classes, -1) / 8


def float_model(
    *,
    classes: int = 3,
    first: Sequence[tuple[str, float | Sequence[float]]] = (),
    end: str = "",
    gain: float = 4.0,
    metadata: bytes | None = None,
    swapped: bool = False,
    free_size: bool = False,
) -> bytes:
    """A float32 model: ``first`` operators with constants, a product, and an end.

    Args:
        classes: Number of outputs.
        first: Names and constants of operators on the pixels.
        end: ``"softmax"``, ``"log softmax"``, ``"sigmoid"``, ``"exponentials"`` (a
            softmax that is spelled out), ``"reshaped softmax"``, ``"flat softmax"``
            (of shape (classes,)), ``"deep softmax"`` ((1, 1, 1, classes)),
            ``"percent"``, ``"argmax"``, or nothing.
        gain: Of the product.
        metadata: Official TFLite metadata.
        swapped: The channels come last to first, as slices that are joined again.
        free_size: The input's height and width are not fixed.
    """
    writer = Writer()
    index = writer.tensor([1, SIZE, SIZE, 3])
    if free_size:
        writer.graph.tensors[index].shapeSignature = [-1, -1, -1, 3]
    if swapped:
        index = _swap_channels(writer, index)
    for name, constant in first:
        value = np.atleast_1d(np.asarray(constant, np.float32))
        other = writer.tensor([len(value)], values=value)
        output = writer.tensor([1, SIZE, SIZE, 3])
        options = f"{name.title()}Options"
        index = writer.operator(FIRST[name], [index, other], output, options)
    matrix = gain * weights(classes)
    product = writer.tensor([1, classes])
    constants = [writer.tensor(matrix.shape, values=matrix)]
    constants.append(writer.tensor([classes], values=np.zeros(classes)))
    index = writer.operator(
        FULLY_CONNECTED, [index, *constants], product, "FullyConnectedOptions"
    )
    if metadata is not None:
        writer.metadata(metadata)
    return writer.to_bytes(_end(writer, index, classes, end))


def _swap_channels(writer: Writer, index: int) -> int:
    """Adds three slices and their concatenation, as ``pixels[..., ::-1]`` becomes."""
    size = writer.tensor([4], "int32", np.array([1, SIZE, SIZE, 1]))
    slices = []
    for channel in (2, 1, 0):
        begin = writer.tensor([4], "int32", np.array([0, 0, 0, channel]))
        output = writer.tensor([1, SIZE, SIZE, 1])
        slices.append(writer.operator(SLICE, [index, begin, size], output))
    joined = writer.tensor([1, SIZE, SIZE, 3])
    writer.operator(CONCATENATION, slices, joined, "ConcatenationOptions")
    writer.graph.operators[-1].builtinOptions.axis = 3
    return joined


def _end(writer: Writer, index: int, classes: int, end: str) -> int:
    shape = [1, classes]
    output = writer.tensor(shape) if end else index
    match end:
        case "softmax":
            return writer.operator(SOFTMAX, [index], output, "SoftmaxOptions")
        case "percent":
            writer.operator(SOFTMAX, [index], output, "SoftmaxOptions")
            hundred = writer.tensor([1], values=np.full(1, 100))
            return writer.operator(
                FIRST["MUL"], [output, hundred], writer.tensor(shape), "MulOptions"
            )
        case "argmax":
            axis = writer.tensor([1], "int32", np.array([1]))
            number = writer.tensor([1], "int64")
            writer.operator(ARG_MAX, [index, axis], number, "ArgMaxOptions")
            writer.graph.operators[-1].builtinOptions.outputType = TYPES["int64"]
            return number
        case "reshaped softmax" | "flat softmax" | "deep softmax":
            axes = {"flat softmax": [classes], "deep softmax": [1, 1, 1, classes]}
            shape = axes.get(end, shape)
            writer.operator(SOFTMAX, [index], output, "SoftmaxOptions")
            index = writer.operator(
                RESHAPE, [output], writer.tensor(shape), "ReshapeOptions"
            )
            writer.graph.operators[-1].builtinOptions.newShape = shape
            return index
        case "log softmax":
            return writer.operator(LOG_SOFTMAX, [index], output)
        case "sigmoid":
            return writer.operator(LOGISTIC, [index], output)
        case "exponentials":
            above = writer.operator(EXP, [index], output)
            axis = writer.tensor([1], "int32", np.array([1]))
            below = writer.tensor([1, 1])
            writer.operator(SUM, [above, axis], below, "ReducerOptions")
            writer.graph.operators[-1].builtinOptions.keepDims = True
            return writer.operator(
                FIRST["DIV"], [above, below], writer.tensor(shape), "DivOptions"
            )
    return output


def quantized_model(
    source: Quantization,
    *,
    classes: int = 3,
    end: str = "softmax",
    gain: float = 4.0,
    output: tuple[float, int] = (1 / 256, -128),
    metadata: bytes | None = None,
) -> bytes:
    """An 8-bit model with the input of ``source``; int8 inside, as its output.

    Args:
        source: The input.
        classes: Number of outputs.
        end: ``"softmax"``, ``"sigmoid"``, or nothing.
        gain: Of the product.
        output: Scale and zero point of the probabilities.
        metadata: Official TFLite metadata.
    """
    writer = Writer()
    dtype, scale, zero_point = source
    index = writer.tensor([1, SIZE, SIZE, 3], dtype, quantization=(scale, zero_point))
    if dtype == "uint8":  # as converters do, the graph inside is int8
        inner = writer.tensor(
            [1, SIZE, SIZE, 3], "int8", quantization=(scale, zero_point - 128)
        )
        index = writer.operator(QUANTIZE, [index], inner)
    matrix = gain * weights(classes)
    step = float(np.abs(matrix).max()) / 127
    integers = np.rint(matrix / step)
    constants = [writer.tensor(matrix.shape, "int8", integers, (step, 0))]
    bias = writer.tensor([classes], "int32", np.zeros(classes), (scale * step, 0))
    # Logits of -32..32.
    product = writer.tensor([1, classes], "int8", quantization=(0.25, 0))
    index = writer.operator(
        FULLY_CONNECTED, [index, *constants, bias], product, "FullyConnectedOptions"
    )
    if end:
        target = writer.tensor([1, classes], "int8", quantization=output)
        code, options = (
            (SOFTMAX, "SoftmaxOptions") if end == "softmax" else (LOGISTIC, "")
        )
        index = writer.operator(code, [index], target, options)
    if metadata is not None:
        writer.metadata(metadata)
    return writer.to_bytes(index)


def with_last_operator(model: bytes, change: dict[str, Any]) -> bytes:
    """Returns a model whose last operator has another code or version."""
    writer = Writer()
    root = writer.schema.Model.GetRootAs(model)
    writer.model = writer.schema.ModelT.InitFromObj(root)
    writer.graph = writer.model.subgraphs[0]
    for name, value in change.items():
        setattr(writer.model.operatorCodes[-1], name, value)
    return writer.to_bytes(writer.graph.outputs[0])


def official_metadata(
    *,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    label_file: str = "",
    name: str = "a model",
) -> bytes:
    """Official TFLite metadata with NormalizationOptions and a list of labels."""
    flatbuffers = _flatbuffers()
    builder = flatbuffers.Builder(256)

    def table(*fields: tuple[int, str, int]) -> int:
        builder.StartObject(8)
        for number, kind, value in fields:
            if kind == "offset":
                builder.PrependUOffsetTRelativeSlot(number, value, 0)
            else:
                builder.PrependUint8Slot(number, value, 0)
        return int(builder.EndObject())

    def vector(offsets: Sequence[int]) -> int:
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    def floats(values: Sequence[float]) -> int:
        return int(builder.CreateNumpyVector(np.array(values, np.float32)))

    source: list[tuple[int, str, int]] = []
    if mean:
        options = table((0, "offset", floats(mean)), (1, "offset", floats(std)))
        unit = table((0, "byte", 1), (1, "offset", options))
        source = [(4, "offset", vector([unit]))]
    target: list[tuple[int, str, int]] = []
    if label_file:
        file = table((0, "offset", builder.CreateString(label_file)), (2, "byte", 2))
        target = [(6, "offset", vector([file]))]
    inputs, outputs = vector([table(*source)]), vector([table(*target)])
    graph = table((2, "offset", inputs), (3, "offset", outputs))
    graphs, text = vector([graph]), builder.CreateString(name)
    root = table((0, "offset", text), (3, "offset", graphs))
    builder.Finish(root, file_identifier=b"M001")
    return bytes(builder.Output())


def with_files(model: bytes, files: dict[str, str]) -> bytes:
    """The model with a zip archive behind it, as the metadata writer makes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return model + buffer.getvalue()


def interpreter_outputs(model: bytes, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The model's own answers to inputs of its own type, as real numbers."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    (source,), (target,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )
    scale, zero_point = target["quantization"]
    outputs = []
    for value in values:
        interpreter.set_tensor(source["index"], value[np.newaxis])
        interpreter.invoke()
        output = interpreter.get_tensor(target["index"]).ravel()
        outputs.append(scale * (output.astype(float) - zero_point) if scale else output)
    return np.array(outputs)
