"""The contents of a model: which operator computes in which data type, at what cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge_runtime.graph.ir import (
    CONVERSIONS,
    WEIGHTS_INPUT,
    Graph,
    Operator,
    Shape,
    Tensor,
    count_macs,
    printable,
)
from edge_runtime.model_file.container import ModelFile

FLOATS = frozenset({"float32", "float16", "bfloat16", "float64"})
INDEX_DTYPES = frozenset({"int32", "int64", "bool"})
EIGHT_BITS = frozenset({"int8", "uint8"})
INTEGER_DTYPES = frozenset({"int8", "int16", "int16x8"})
SCALING = frozenset({"MUL", "DIV", "Mul", "Div", "BatchNormalization"})
LAYOUT = frozenset({"Reshape", "Transpose", "RESHAPE", "TRANSPOSE"})
QUANTIZE = frozenset({"QUANTIZE", "QuantizeLinear"})


@dataclass(frozen=True)
class LayerSummary:
    """An operator and its cost.

    Attributes:
        name: The name of its weights, or of its output where it has none.
        operator: Its type, such as ``"CONV_2D"``.
        dtype: ``"int8"`` (also uint8), ``"int16"``, ``"int16x8"`` (int8 weights),
            ``"float32"``, ``"float16"``, ``"hybrid"`` (float activations, integer
            weights), ``"conversion"``, or the data type of index arithmetic.
        macs: Multiply-accumulates for one image; None where shapes are not known.
        weights: Its weights as stored in the file; None where it has none.
        bytes: Bytes of its constants in the file.
    """

    name: str
    operator: str
    dtype: str
    macs: int | None
    weights: Tensor | None
    bytes: int

    @property
    def channels(self) -> int:
        """Number of scales that per-channel weights would have; 0 without weights."""
        if self.weights is None or not self.weights.shape:
            return 0
        shape, axis = self.weights.shape, self.weights.axis
        if self.operator == "DEPTHWISE_CONV_2D":
            return shape[-1]
        return shape[axis] if 0 <= axis < len(shape) else shape[0]

    @property
    def per_channel(self) -> bool:
        """True where each channel of the weights has its own scale."""
        return self.weights is not None and len(self.weights.scales) == self.channels


@dataclass(frozen=True)
class FloatSubgraph:
    """Connected float operators in a file that computes in integers.

    Attributes:
        operators: Their types.
        first: The name of the first.
        macs: Their multiply-accumulates.
    """

    operators: tuple[str, ...]
    first: str
    macs: int


@dataclass(frozen=True)
class GraphSummary:
    """The contents of a model.

    Attributes:
        layers: All operators, in the order in which they run.
        float_subgraphs: Groups of float operators; empty where nothing is computed in
            integers.
        custom_operators: Names of operators that are not part of the file format.
        unfolded: Multiplications by one constant per channel behind a convolution:
            BatchNorm that did not fold.
        input: The input tensor.
        output: The output tensor.
        quantized_input: The first quantized tensor, where the input is float and is
            quantized at once; else None.
    """

    layers: tuple[LayerSummary, ...]
    float_subgraphs: tuple[FloatSubgraph, ...]
    custom_operators: tuple[str, ...]
    unfolded: tuple[LayerSummary, ...]
    input: Tensor | None
    output: Tensor | None
    quantized_input: Tensor | None

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image, of all operators with known shapes."""
        return sum(layer.macs or 0 for layer in self.layers)

    @property
    def int8_share(self) -> float:
        """Share of all multiply-accumulates that are computed in int8, 0..1."""
        return self.macs_share(layer for layer in self.layers if layer.dtype == "int8")

    def macs_share(self, layers: Iterable[LayerSummary]) -> float:
        """Returns the share of all multiply-accumulates in some layers, 0..1."""
        return sum(layer.macs or 0 for layer in layers) / max(1, self.macs)


def read_graph(file: ModelFile) -> Graph:
    """Returns a model file's graph.

    Raises:
        ModelError: The model is cut off, damaged or hostile.
        MissingDependencyError: It is an ``.onnx`` file and ``onnx`` is not installed.
    """
    if file.kind == "tflite":
        from edge_runtime.graph.tflite import read_tflite

        return read_tflite(file.model)
    from edge_runtime.graph.onnx import read_onnx

    return read_onnx(file.model)


def analyze(graph: Graph) -> GraphSummary:
    """Returns the contents of a graph."""
    counted: set[int] = set()
    layers = [_summarize(graph, operator, counted) for operator in graph.operators]
    integers = any(layer.dtype in INTEGER_DTYPES for layer in layers)
    custom = {operator.name for operator in graph.operators if operator.custom}
    return GraphSummary(
        layers=tuple(layers),
        float_subgraphs=_float_subgraphs(graph, layers) if integers else (),
        custom_operators=tuple(sorted(custom)),
        unfolded=_unfolded(graph, layers),
        input=graph.tensor(graph.inputs, 0),
        output=graph.tensor(graph.outputs, 0),
        quantized_input=_quantized_input(graph),
    )


def compute_dtype(graph: Graph, operator: Operator) -> str:
    """Returns the data type an operator computes in, see ``LayerSummary.dtype``."""
    if operator.name in CONVERSIONS:
        return "conversion"
    activations = [i for i in operator.inputs if i >= 0 and not graph.constant(i)]
    outputs = {graph.tensors[i].dtype for i in operator.outputs if i >= 0}
    if outputs and outputs <= INDEX_DTYPES and operator.name not in WEIGHTS_INPUT:
        return min(outputs)  # computes a shape or a position
    dtypes = {graph.tensors[i].dtype for i in activations} | outputs
    weights = _weights(graph, operator)
    integer_weights = weights is not None and weights.dtype not in FLOATS
    floats = sorted(dtypes & FLOATS)
    if floats:
        # Weights that are dequantized first are computed with as floats.
        direct = integer_weights and graph.tensors[_weights_index(operator)].constant
        return "hybrid" if direct else floats[-1]
    if "int16" in dtypes:
        return "int16x8" if integer_weights else "int16"
    if dtypes & EIGHT_BITS:
        return "int8"
    return next(iter(sorted(dtypes)), "") or "unknown"


def _summarize(graph: Graph, operator: Operator, counted: set[int]) -> LayerSummary:
    """Returns one layer; constants in ``counted`` belong to earlier ones."""
    weights = _weights(graph, operator)
    size = 0
    # Constants of a conversion are counted where its result is used.
    for index in operator.inputs if operator.name not in CONVERSIONS else ():
        constant = graph.constant(index)
        if constant is not None and id(constant) not in counted:
            counted.add(id(constant))
            size += constant.bytes
    named = weights or graph.tensor(operator.outputs, 0)
    return LayerSummary(
        name=printable(named.name) if named else "",
        operator=operator.name,
        dtype=compute_dtype(graph, operator),
        macs=count_macs(graph, operator),
        weights=weights,
        bytes=size,
    )


def _weights_index(operator: Operator) -> int:
    position = WEIGHTS_INPUT.get(operator.name, -1)
    return operator.inputs[position] if 0 <= position < len(operator.inputs) else -1


def _weights(graph: Graph, operator: Operator) -> Tensor | None:
    return graph.constant(_weights_index(operator))


def _quantized_input(graph: Graph) -> Tensor | None:
    """Returns what a float input is quantized to before anything else is computed."""
    source = graph.tensor(graph.inputs, 0)
    if source is None or source.dtype not in FLOATS:
        return None
    index = graph.inputs[0]
    for _ in range(3):  # a change of layout may come first
        readers = graph.consumers.get(index, [])
        if len(readers) != 1 or not readers[0].outputs:
            return None
        index = readers[0].outputs[0]
        if readers[0].name in QUANTIZE:
            return graph.tensors[index]
        if readers[0].name not in LAYOUT:
            return None
    return None


def _float_subgraphs(
    graph: Graph, layers: list[LayerSummary]
) -> tuple[FloatSubgraph, ...]:
    """Returns the float operators, in groups that share tensors."""
    groups: dict[int, list[LayerSummary]] = {}
    group_of: dict[int, int] = {}  # by tensor
    for number, (operator, layer) in enumerate(
        zip(graph.operators, layers, strict=True)
    ):
        # The layout of a float input may change before it is quantized.
        first = operator.name in LAYOUT and set(operator.inputs[:1]) & set(graph.inputs)
        if layer.dtype not in FLOATS | {"hybrid"} or first:
            continue
        tensors = [i for i in (*operator.inputs, *operator.outputs) if i >= 0]
        group = next((group_of[i] for i in tensors if i in group_of), number)
        groups.setdefault(group, []).append(layer)
        for index in operator.outputs:
            group_of.setdefault(index, group)
    return tuple(
        FloatSubgraph(
            tuple(layer.operator for layer in group),
            group[0].name,
            sum(layer.macs or 0 for layer in group),
        )
        for group in groups.values()
    )


def _unfolded(graph: Graph, layers: list[LayerSummary]) -> tuple[LayerSummary, ...]:
    """Returns the per-channel scalings behind a convolution or matrix product."""
    unfolded: list[LayerSummary] = []
    behind: set[int] = set()  # tensors behind such an operator
    for operator, layer in zip(graph.operators, layers, strict=True):
        is_behind = not behind.isdisjoint(operator.inputs)
        if is_behind and operator.name in SCALING and _per_channel(graph, operator):
            unfolded.append(layer)
        if is_behind or operator.name in WEIGHTS_INPUT:
            behind.update(index for index in operator.outputs if index >= 0)
    return tuple(unfolded)


def _per_channel(graph: Graph, operator: Operator) -> bool:
    """Returns whether an operator combines its input with one constant per channel."""
    if operator.name == "BatchNormalization":
        return True
    output = graph.tensor(operator.outputs, 0)
    shape = output.shape if output is not None else None
    constants = [graph.constant(index) for index in operator.inputs]
    return any(_along_channels(tensor, shape or ()) for tensor in constants if tensor)


def _along_channels(constant: Tensor, output: Shape) -> bool:
    """Returns whether a constant has one element per channel.

    Channels are last in TFLite and second in ONNX.
    """
    sizes = constant.shape or ()
    long = [position for position, size in enumerate(sizes) if size > 1]
    if len(long) != 1 or len(sizes) > len(output):
        return False
    position = long[0] + len(output) - len(sizes)  # shapes are aligned at their ends
    return position in (1, len(output) - 1) and output[position] == sizes[long[0]]
