"""The graph of a TFLite model, read without any TFLite library.

The schema: https://github.com/tensorflow/tensorflow, tensorflow/compiler/mlir/lite/
schema/schema.fbs. Fields are given by their number in it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import ModelError
from edge_runtime.graph.flatbuffer import Flatbuffer, Table
from edge_runtime.graph.ir import (
    MOST_VALUES,
    Graph,
    Operator,
    Shape,
    Tensor,
    printable,
)

Data = npt.NDArray[np.uint8]

CUSTOM = 32
_DTYPES = (
    "float32 float16 int32 uint8 int64 string bool int16 complex64 int8 float64"
    " complex128 uint64 resource variant uint32 uint16 int4 bfloat16 int2 uint4"
)
DTYPES = _DTYPES.split()
# BuiltinOperator 0 to 161; those behind are StableHLO's.
_OPERATORS = """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU
RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH
CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD
UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN
SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN
EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM
ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN
TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT
SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT
LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL
FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS
SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE
MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4
NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL
PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG
REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL
CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS
RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE
RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2
UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT
"""
OPERATORS = _OPERATORS.split()


def read_tflite(model: bytes) -> Graph:
    """Returns the graph of a TFLite flatbuffer.

    It includes the bodies of control-flow operators, which are further subgraphs.

    Args:
        model: The flatbuffer; bytes behind it are ignored.

    Raises:
        ModelError: It is cut off, damaged or hostile.
    """
    file = Flatbuffer(model)
    root = file.root()
    codes = [_code(table) for table in root.tables(1)]
    buffers = [_buffer_data(file, table) for table in root.tables(4)]
    tensors: list[Tensor] = []
    operators: list[Operator] = []
    inputs_and_outputs: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for subgraph in root.tables(2):
        first = len(tensors)
        tensors += [_tensor(table, buffers) for table in subgraph.tables(0)]
        count = len(tensors) - first
        for table in subgraph.tables(3):
            operators.append(_operator(table, codes, first, count))
        inputs, outputs = subgraph.integers(1), subgraph.integers(2)
        inputs_and_outputs.append(
            (_shift(inputs, first, count), _shift(outputs, first, count))
        )
    if not inputs_and_outputs:
        raise ModelError("the model is damaged: it has no graph")
    return Graph(tuple(tensors), tuple(operators), *inputs_and_outputs[0])


def outer_buffer_bytes(model: bytes) -> int:
    """Returns how many bytes of constants lie behind the flatbuffer, not inside it.

    Interpreters that do not know ``Buffer.offset``, such as TensorFlow Lite Micro, load
    such a file and compute with other values.

    Raises:
        ModelError: The model is cut off, damaged or hostile.
    """
    tables = Flatbuffer(model).root().tables(4)
    return sum(table.number(2, "<Q") for table in tables if table.number(1, "<Q") > 1)


def _code(table: Table) -> tuple[str, bool]:
    """Returns an operator's name, and whether it is custom."""
    # Numbers up to 127 are in the first field, larger ones in the later one.
    number = max(table.number(0, "<b"), table.number(3, "<i"))
    if number == CUSTOM:
        return printable(table.text(1)) or "CUSTOM", True
    if 0 <= number < len(OPERATORS):
        return OPERATORS[number], False
    return f"BUILTIN_{number}", False


def _buffer_data(file: Flatbuffer, table: Table) -> Data:
    """Returns a buffer's bytes, uint8 (n,); they share the file's memory."""
    data = table.array(0, "u1")
    # Other files have the data behind the flatbuffer, and its offset and size here.
    offset, size = table.number(1, "<Q"), table.number(2, "<Q")
    if len(data) or offset <= 1:  # 0 and 1 mean that there is none
        return data
    file.check(offset, size)
    return np.frombuffer(file.data, np.uint8, size, offset)


def _tensor(table: Table, buffers: list[Data]) -> Tensor:
    dtype, buffer = table.number(1, "<b"), table.number(2, "<I")
    if buffer >= len(buffers):
        raise _bad_index("buffer", buffer, len(buffers))
    data = buffers[buffer]
    quantization = table.table(4)
    shape: Shape = tuple(max(1, size) for size in table.integers(0))  # -1 is free
    name = table.text(3)
    dtype_name = DTYPES[dtype] if 0 <= dtype < len(DTYPES) else f"type {dtype}"
    tensor = Tensor(
        name,
        shape,
        dtype_name,
        constant=len(data) > 0,
        bytes=len(data),
        values=_values(data, dtype_name),
    )
    if quantization is None:
        return tensor
    return replace(
        tensor,
        scales=quantization.array(2, "<f4").astype(np.float32, copy=False),
        zero_points=quantization.array(3, "<i8").astype(np.int64, copy=False),
        axis=quantization.number(6, "<i"),
    )


def _values(data: Data, dtype: str) -> npt.NDArray[np.float32] | None:
    size = {"float32": 4, "float16": 2}.get(dtype, 0)
    if not size or len(data) % size or not 0 < len(data) <= MOST_VALUES * size:
        return None
    return data.copy().view(f"<f{size}").astype(np.float32)


def _operator(
    table: Table, codes: list[tuple[str, bool]], first: int, count: int
) -> Operator:
    index = table.number(0, "<I")
    if index >= len(codes):
        raise _bad_index("operator code", index, len(codes))
    name, custom = codes[index]
    return Operator(
        name,
        _shift(table.integers(1), first, count),
        _shift(table.integers(2), first, count),
        custom,
    )


def _shift(indices: tuple[int, ...], first: int, count: int) -> tuple[int, ...]:
    """Returns a subgraph's tensor indices as indices into all tensors."""
    for index in indices:
        if not -1 <= index < count:
            raise _bad_index("tensor", index, count)
    return tuple(index if index < 0 else first + index for index in indices)


def _bad_index(kind: str, index: int, count: int) -> ModelError:
    return ModelError(
        f"the model is damaged: expected one of {count} {kind}s, got number {index}"
    )
