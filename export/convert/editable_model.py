"""A TFLite model that can be changed: other outputs, constants, a rounded layer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.graph.tflite import outer_buffer_bytes

QUANTIZE_CODE, DEQUANTIZE_CODE = 114, 6  # BuiltinOperator in the TFLite schema
MUL_CODE = 18
FLOAT32, INT8 = 0, 9  # TensorType
ALIGNMENT = 16  # of a buffer's data, in bytes, as the schema demands


class EditableModel:
    """A TFLite model, parsed into objects that can be changed and written back.

    Attributes:
        model: The object API's ``ModelT``.
    """

    def __init__(self, model: bytes) -> None:
        """Takes a flatbuffer; the bytes themselves are never changed."""
        from ai_edge_litert.tools import flatbuffer_utils

        self.model = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
        for buffer in self.model.buffers:
            # As lists of integers they would take seconds to write back.
            if buffer.data is not None:
                buffer.data = np.frombuffer(buffer.data, np.uint8)

    @property
    def graph(self) -> Any:
        """The main graph, a ``SubGraphT``."""
        return self.model.subgraphs[0]

    def to_bytes(self) -> bytes:
        """Returns the flatbuffer, with the data of all buffers inside it."""
        from ai_edge_litert.tools import flatbuffer_utils

        for buffer in self.model.buffers:
            buffer.Pack = partial(_pack_aligned, buffer)
        return bytes(flatbuffer_utils.convert_object_to_bytearray(self.model))

    def names(self) -> list[str]:
        """Returns the full names of the tensors, in order."""
        return [tensor.name.decode() for tensor in self.graph.tensors]

    def constant(self, index: int) -> npt.NDArray[np.uint8] | None:
        """Returns the bytes of a constant tensor, or None for an activation."""
        data = self.model.buffers[self.graph.tensors[index].buffer].data
        return None if data is None or not len(data) else np.asarray(data)

    def floats(self, index: int) -> npt.NDArray[np.float32]:
        """Returns a constant float32 tensor in its shape."""
        data = self.model.buffers[self.graph.tensors[index].buffer].data
        return np.asarray(data.view("<f4").reshape(self.graph.tensors[index].shape))

    def set_outputs(self, indices: Sequence[int]) -> None:
        """Makes these tensors the graph's outputs."""
        self.graph.outputs = list(indices)
        self.model.signatureDefs = None  # they name the former outputs

    def set_constant(self, index: int, values: npt.NDArray[np.float32]) -> None:
        """Gives a constant tensor other values, float32 of its shape."""
        data = np.frombuffer(values.astype("<f4").tobytes(), np.uint8)
        self.graph.tensors[index].buffer = self._new_buffer(data)

    def empty_unused_buffers(self) -> None:
        """Removes the data of constants that were replaced."""
        used = {
            tensor.buffer for graph in self.model.subgraphs for tensor in graph.tensors
        }
        used |= {entry.buffer for entry in self.model.metadata or ()}
        for index, buffer in enumerate(self.model.buffers):
            if index not in used:
                buffer.data = None

    def add_constant(self, name: str, values: npt.NDArray[np.float32]) -> int:
        """Returns the index of a new constant tensor, float32."""
        from ai_edge_litert.schema_py_generated import TensorT

        tensor = TensorT()
        tensor.name, tensor.shape = name.encode(), list(values.shape)
        tensor.type, tensor.hasRank = FLOAT32, True
        self.graph.tensors.append(tensor)
        self.set_constant(len(self.graph.tensors) - 1, values)
        return len(self.graph.tensors) - 1

    def make_product(self, operator: Any, first: int, second: int) -> None:
        """Makes an operator the product of two tensors."""
        from ai_edge_litert.schema_py_generated import BuiltinOptions, MulOptionsT

        operator.opcodeIndex = self._new_code(MUL_CODE)
        operator.inputs = [first, second]
        operator.builtinOptionsType = BuiltinOptions.MulOptions
        operator.builtinOptions = MulOptionsT()

    def round_tensor(self, index: int, scale: float, zero_point: int) -> int:
        """Rounds an activation to int8 and back before anything reads it.

        Returns:
            The index of the rounded tensor, float32.
        """
        tensors = self.graph.tensors
        source = tensors[index]
        rounded, back = len(tensors), len(tensors) + 1
        tensors.append(self._new_tensor(source, b"int8", INT8))
        tensors[rounded].quantization = _quantization(scale, zero_point)
        tensors.append(self._new_tensor(source, b"float", source.type))
        for operator in self.graph.operators:
            operator.inputs = [back if i == index else i for i in operator.inputs]
        self.graph.outputs = [back if i == index else i for i in self.graph.outputs]
        maker = next(
            place
            for place, operator in enumerate(self.graph.operators)
            if index in operator.outputs
        )
        self.graph.operators[maker + 1 : maker + 1] = [
            self._new_operator(QUANTIZE_CODE, index, rounded),
            self._new_operator(DEQUANTIZE_CODE, rounded, back),
        ]
        self.model.signatureDefs = None
        return back

    def _new_buffer(self, data: npt.NDArray[np.uint8] | None) -> int:
        from ai_edge_litert.schema_py_generated import BufferT

        buffer = BufferT()
        buffer.data = data
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def _new_tensor(self, like: Any, suffix: bytes, kind: int) -> Any:
        from ai_edge_litert.schema_py_generated import TensorT

        tensor = TensorT()
        tensor.shape, tensor.type = list(like.shape), kind
        tensor.name = like.name + b"/" + suffix
        tensor.buffer = self._new_buffer(None)
        tensor.hasRank = like.hasRank
        return tensor

    def _new_code(self, code: int) -> int:
        """Returns the index of a new entry in the table of operators' codes."""
        from ai_edge_litert.schema_py_generated import OperatorCodeT

        entry = OperatorCodeT()
        entry.builtinCode = entry.deprecatedBuiltinCode = code
        entry.version = 1
        self.model.operatorCodes.append(entry)
        return len(self.model.operatorCodes) - 1

    def _new_operator(self, code: int, source: int, target: int) -> Any:
        from ai_edge_litert.schema_py_generated import OperatorT

        operator = OperatorT()
        operator.opcodeIndex = self._new_code(code)
        operator.inputs, operator.outputs = [source], [target]
        return operator


def with_inner_buffers(model: bytes) -> bytes:
    """Returns a TFLite model whose constants are all inside the flatbuffer.

    ai-edge-quantizer writes large ones behind it (``Buffer.offset``). TensorFlow Lite
    Micro and other interpreters that do not know this load the file and compute with
    whatever they find. A model without such buffers is returned as it is.
    """
    if not outer_buffer_bytes(model):
        return model
    return EditableModel(model).to_bytes()


def _pack_aligned(buffer: Any, builder: Any) -> int:
    """Writes a buffer with its data aligned, which the generated code leaves out."""
    if buffer.data is not None:
        builder.Prep(ALIGNMENT, len(buffer.data))
    return int(type(buffer).Pack(buffer, builder))


def _quantization(scale: float, zero_point: int) -> Any:
    from ai_edge_litert.schema_py_generated import QuantizationParametersT

    quantization = QuantizationParametersT()
    quantization.scale = np.array([scale], np.float32)
    quantization.zeroPoint = np.array([zero_point], np.int64)
    return quantization
