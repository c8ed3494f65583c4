"""What is really inside a model: what computes in which data type, at what cost."""

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
INDICES = frozenset({"int32", "int64", "bool"})
EIGHT_BITS = frozenset({"int8", "uint8"})
INTEGER_LABELS = frozenset({"int8", "int16", "int16x8"})
SCALING = frozenset({"MUL", "DIV", "Mul", "Div", "BatchNormalization"})
SHIFTING = frozenset({"ADD", "SUB", "Add", "Sub"})


@dataclass(frozen=True)
class Layer:
    """An operator and what it costs.

    Attributes:
        name: The name of its weights, or of its output where it has none.
        operator: Its type, such as ``"CONV_2D"``.
        dtype: ``"int8"`` (also uint8), ``"int16"``, ``"int16x8"`` (int8 weights),
            ``"float32"``, ``"float16"``, ``"hybrid"`` (float activations, integer
            weights), ``"conversion"``, or the type of mere index arithmetic.
        macs: Multiply-accumulates for one image; None where shapes are not known.
        weights: Its weights, as they are stored; None where it has none.
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
        """Number of scales its weights would have per channel; 0 without weights."""
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
    """Float operators that touch each other, in a file that computes in integers.

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
    """What is inside a model.

    Attributes:
        layers: All operators, in the order in which they run.
        islands: Groups of float operators; empty where nothing runs in integers.
        custom: Names of operators that are not the format's own.
        scalings: Multiplications by one constant per channel behind a convolution:
            BatchNorm that did not fold.
        input: The input tensor.
        output: The output tensor.
        inside: The first quantized tensor where the input is float and is quantized
            at once; else None.
    """

    layers: tuple[Layer, ...]
    islands: tuple[FloatSubgraph, ...]
    custom: tuple[str, ...]
    scalings: tuple[Layer, ...]
    input: Tensor | None
    output: Tensor | None
    inside: Tensor | None

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image, of all operators that are known."""
        return sum(one.macs or 0 for one in self.layers)

    @property
    def weighted(self) -> list[Layer]:
        """The layers with constant weights: convolutions and matrix products."""
        return [one for one in self.layers if one.weights is not None]

    def share(self, layers: Iterable[Layer]) -> float:
        """Returns the share of all multiply-accumulates in some layers, 0..1."""
        return sum(one.macs or 0 for one in layers) / max(1, self.macs)


def read_graph(file: ModelFile) -> Graph:
    """Returns a model file's graph; needs no TFLite or ONNX library.

    Raises:
        ModelError: It is cut off, damaged or hostile.
    """
    if file.kind == "tflite":
        from edge_runtime.graph.tflite import read_tflite

        return read_tflite(file.model)
    from edge_runtime.graph.onnx import read_onnx

    return read_onnx(file.model)


def analyze(graph: Graph) -> GraphSummary:
    """Returns what is inside a graph."""
    counted: set[int] = set()
    layers = [_layer(graph, one, counted) for one in graph.operators]
    integers = any(one.dtype in INTEGER_LABELS for one in layers)
    source = graph.tensor(graph.inputs, 0)
    return GraphSummary(
        layers=tuple(layers),
        islands=_islands(graph, layers) if integers else (),
        custom=tuple(sorted({one.name for one in graph.operators if one.custom})),
        scalings=_scalings(graph, layers),
        input=source,
        output=graph.tensor(graph.outputs, 0),
        inside=_inside(graph, source),
    )


def compute_dtype(graph: Graph, operator: Operator) -> str:
    """Returns what an operator computes in, see ``Layer.dtype``."""
    if operator.name in CONVERSIONS:
        return "conversion"
    moving = [one for one in operator.inputs if one >= 0 and not graph.constant(one)]
    made = {graph.tensors[one].dtype for one in operator.outputs if one >= 0}
    if made and made <= INDICES and operator.name not in WEIGHTS_INPUT:
        return min(made)  # a shape, a position: arithmetic about tensors, not in them
    kinds = {graph.tensors[one].dtype for one in moving} | made
    weights = _weights(graph, operator)
    small = weights is not None and weights.dtype not in FLOATS
    floats = sorted(kinds & FLOATS)
    if floats:
        # Weights that are dequantized first are computed with as floats.
        direct = small and graph.tensors[_weights_index(operator)].constant
        return "hybrid" if direct else floats[-1]
    if "int16" in kinds:
        return "int16x8" if small else "int16"
    if kinds & EIGHT_BITS:
        return "int8"
    return next(iter(sorted(kinds)), "") or "unknown"


def _layer(graph: Graph, operator: Operator, counted: set[int]) -> Layer:
    weights = _weights(graph, operator)
    size = 0
    for index in operator.inputs:
        constant = graph.constant(index)
        skip = operator.name in CONVERSIONS  # counted where the result is used
        if constant is not None and not skip and id(constant) not in counted:
            counted.add(id(constant))
            size += constant.bytes
    named = weights or graph.tensor(operator.outputs, 0)
    return Layer(
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


def _inside(graph: Graph, source: Tensor | None) -> Tensor | None:
    """Returns what a float input is quantized to before anything else is computed."""
    if source is None or source.dtype not in FLOATS:
        return None
    index = graph.inputs[0]
    for _ in range(3):  # a change of layout may stand before
        readers = graph.consumers.get(index, [])
        if len(readers) != 1 or not readers[0].outputs:
            return None
        index = readers[0].outputs[0]
        if readers[0].name in ("QUANTIZE", "QuantizeLinear"):
            return graph.tensors[index]
        if readers[0].name not in ("Reshape", "Transpose", "RESHAPE", "TRANSPOSE"):
            return None
    return None


def _islands(graph: Graph, layers: list[Layer]) -> tuple[FloatSubgraph, ...]:
    """Returns the float operators, in groups that share tensors."""
    groups: dict[int, list[Layer]] = {}
    group_of: dict[int, int] = {}  # by tensor
    for number, (operator, layer) in enumerate(
        zip(graph.operators, layers, strict=True)
    ):
        if layer.dtype not in FLOATS | {"hybrid"} or _only_layout(graph, operator):
            continue
        ends = [one for one in (*operator.inputs, *operator.outputs) if one >= 0]
        group = next((group_of[one] for one in ends if one in group_of), number)
        groups.setdefault(group, []).append(layer)
        for one in operator.outputs:
            group_of.setdefault(one, group)
    return tuple(
        FloatSubgraph(
            tuple(one.operator for one in group),
            group[0].name,
            sum(one.macs or 0 for one in group),
        )
        for group in groups.values()
    )


def _only_layout(graph: Graph, operator: Operator) -> bool:
    """True for a change of layout of the float input, before it is quantized."""
    layout = operator.name in ("Reshape", "Transpose", "RESHAPE", "TRANSPOSE")
    return layout and bool(set(operator.inputs[:1]) & set(graph.inputs))


def _scalings(graph: Graph, layers: list[Layer]) -> tuple[Layer, ...]:
    """Returns the scalings per channel that stand behind a convolution or product."""
    found: list[Layer] = []
    behind: set[int] = set()
    for operator, layer in zip(graph.operators, layers, strict=True):
        after = not behind.isdisjoint(operator.inputs)
        if after and operator.name in SCALING and _per_channel(graph, operator):
            found.append(layer)
        if after or operator.name in WEIGHTS_INPUT:
            behind.update(one for one in operator.outputs if one >= 0)
    return tuple(found)


def _per_channel(graph: Graph, operator: Operator) -> bool:
    """True where an operator combines its input with one constant per channel."""
    if operator.name == "BatchNormalization":
        return True
    output = graph.tensor(operator.outputs, 0)
    shape = output.shape if output is not None else None
    constants = [graph.constant(index) for index in operator.inputs]
    return any(_along_channels(one, shape or ()) for one in constants if one)


def _along_channels(constant: Tensor, output: Shape) -> bool:
    """True where a constant has one element per channel: last in TFLite, or second."""
    sizes = constant.shape or ()
    long = [position for position, size in enumerate(sizes) if size > 1]
    if len(long) != 1 or len(sizes) > len(output):
        return False
    position = long[0] + len(output) - len(sizes)  # shapes are aligned at their ends
    return position in (1, len(output) - 1) and output[position] == sizes[long[0]]
