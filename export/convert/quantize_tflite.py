"""Float32 TFLite to int8, float16 and dynamic range, by ai-edge-quantizer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import ModelError, missing_in_checkout
from edge_runtime.graph.ir import Graph, Tensor
from edge_runtime.graph.tflite import read_tflite
from export.convert.bias_correction import bias_shift
from export.convert.editable_model import EditableModel, with_inner_buffers
from export.convert.integer_kernels import disguise, reveal, with_whole_splits
from export.suppress_output import suppress_output
from train.quantization.dead_channels import with_room_for_bias
from train.quantization.even_rounding import round_evenly
from train.quantization.ranges import ChannelMeans, Ranges

Io = Literal["int8", "uint8", "float32"]
Recipe = list[dict[str, Any]]
CalibrationResult = dict[str, dict[str, npt.NDArray[np.float32]]]

EVERYTHING = ".*"
CHANNEL_AXES = {"CONV_2D": 0, "FULLY_CONNECTED": 0, "DEPTHWISE_CONV_2D": 3}


def quantize(
    model: bytes,
    ranges: Ranges,
    *,
    activation_bits: Literal[8, 16] = 8,
    io: Io = "int8",
    in_float: Sequence[str] = (),
    means: ChannelMeans | None = None,
) -> bytes:
    """Returns the integer flatbuffer: weights per channel, activations per tensor.

    Args:
        model: A float32 TFLite flatbuffer.
        ranges: Activation ranges by tensor name, see ``export.calibration``.
        activation_bits: 8, or 16 for int16x8, whose input and output are int16.
        io: Type of the input and output of an int8 model. Inside it is the same
            model: the others are converted at its ends.
        in_float: Operators that stay in float32, each by the names of its output
            tensors, joined by semicolons. Where they make the logits, these are float.
        means: Of channels, with which biases make up for rounded weights.

    Raises:
        ModelError: The ranges belong to another model, or an operator cannot be
            quantized as asked.
    """
    graph = read_tflite(model)
    if graph.tensors[graph.inputs[0]].name not in ranges:
        raise ModelError(
            "the recorded activation ranges belong to another model: measure them"
            " again with --calibration-data"
        )
    recipes = _library().recipe
    if activation_bits == 16:
        recipe = list(recipes.static_wi8_ai16())
    else:
        recipe = [*recipes.static_wi8_ai8(), *_ends(io)]
    output = EditableModel(model).names()[graph.outputs[0]]
    if output in in_float:
        recipe += _ends("float32", outputs_only=True)
    recipe += _excluded(in_float)
    scalar = partial(np.full, (1, 1, 1, 1), dtype=np.float32)
    calibration = {
        name: {"min": scalar(low), "max": scalar(high)}
        for name, (low, high) in {**ranges, **_of_unread(graph, ranges)}.items()
    }
    rounded = _evenly_rounded(_without_dead_channels(model, ranges), in_float)
    if means:
        rounded = _with_corrected_biases(rounded, means, in_float)
    if activation_bits == 16:
        return _apply(rounded, recipe, calibration)
    known, disguised = disguise(rounded)
    return with_whole_splits(reveal(_apply(known, recipe, calibration), disguised))


def _of_unread(graph: Graph, ranges: Ranges) -> Ranges:
    """Returns ranges for outputs without a reader: those of the inputs they came from.

    They are not measured, because XNNPACK does not compute them.
    """
    found: Ranges = {}
    for operator in graph.operators:
        sources = [graph.tensors[index].name for index in operator.inputs if index >= 0]
        measured = [ranges[name] for name in sources if name in ranges]
        for index in operator.outputs:
            if index >= 0 and graph.tensors[index].name not in ranges and measured:
                found[graph.tensors[index].name] = measured[0]
    return found


def to_float16(model: bytes) -> bytes:
    """Returns the flatbuffer with float16 weights, computed with in float32.

    Args:
        model: A float32 TFLite flatbuffer.
    """
    quantizer = _library()
    recipes = quantizer.recipe_manager.RecipeManager()
    recipes.add_weight_only_config(
        regex=EVERYTHING,
        operation_name=quantizer.qtyping.TFLOperationName.ALL_SUPPORTED,
        num_bits=16,
        algorithm_key=quantizer.algorithm_manager.AlgorithmName.FLOAT_CASTING,
    )
    return _apply(model, recipes.get_quantization_recipe(), None)


def to_dynamic_range(model: bytes) -> bytes:
    """Returns the flatbuffer with int8 weights, whose activations stay float32.

    Weights are per channel, but those of fully connected layers per tensor:
    tflite-runtime 2.14 loads the others, applies the first channel's scale to all of
    them and answers nonsense (logits of 3.7 were off by 3.7).

    Args:
        model: A float32 TFLite flatbuffer.
    """
    quantizer = _library()
    operations = quantizer.qtyping.TFLOperationName
    recipes = quantizer.recipe_manager.RecipeManager()
    recipes.add_dynamic_config(EVERYTHING, operations.ALL_SUPPORTED, 8)
    recipes.add_dynamic_config(
        EVERYTHING,
        operations.FULLY_CONNECTED,
        8,
        quantizer.qtyping.QuantGranularity.TENSORWISE,
    )
    return _apply(_evenly_rounded(model), recipes.get_quantization_recipe(), None)


class _Layer(NamedTuple):
    """A layer with weights and a bias that are constants."""

    position: int
    kind: str
    source: Tensor
    weights: int
    bias: int


def _layers(edited: EditableModel, graph: Graph) -> Iterator[_Layer]:
    """Yields the main graph's layers with weights and a bias that are constants."""
    # A graph's operators are followed by those of the bodies of loops and branches.
    main = list(zip(graph.operators, edited.graph.operators, strict=False))
    for position, (operator, _) in enumerate(main):
        source, *constants = operator.inputs[:3] or (-1,)
        if (
            operator.name in CHANNEL_AXES
            and len(constants) == 2
            and min(constants) >= 0
            and all(edited.constant(index) is not None for index in constants)
        ):
            yield _Layer(position, operator.name, graph.tensors[source], *constants)


def _without_dead_channels(model: bytes, ranges: Ranges) -> bytes:
    """Returns the float model with weights whose biases int32 can count.

    ONNX Runtime's quantizer does this by itself.
    """
    edited, graph = EditableModel(model), read_tflite(model)
    changed = False
    for layer in _layers(edited, graph):
        inputs = ranges.get(layer.source.name)
        if inputs is None:
            continue
        weights, bias = edited.floats(layer.weights), edited.floats(layer.bias)
        by_channel = np.moveaxis(weights, CHANNEL_AXES[layer.kind], 0)
        flat = with_room_for_bias(by_channel.reshape(len(bias), -1), bias, inputs)
        if flat is None:
            continue
        enlarged = flat.reshape(by_channel.shape)
        enlarged = np.moveaxis(enlarged, 0, CHANNEL_AXES[layer.kind])
        edited.set_constant(layer.weights, enlarged)
        changed = True
    if not changed:
        return model
    edited.empty_unused_buffers()
    return edited.to_bytes()


def _evenly_rounded(model: bytes, in_float: Sequence[str] = ()) -> bytes:
    """Returns the float model with the first convolution rounded evenly."""
    edited = EditableModel(model)
    names, graph = edited.names(), read_tflite(model)
    for position, operator in enumerate(graph.operators):
        if operator.name != "CONV_2D" or operator.inputs[0] != graph.inputs[0]:
            continue
        outputs = ";".join(names[index] for index in operator.outputs)
        if outputs in in_float or min(operator.inputs) < 0:
            continue
        weights, bias = (edited.floats(index) for index in operator.inputs[1:3])
        outputs_last = weights.reshape(len(weights), -1, weights.shape[-1])
        rounded, shift = round_evenly(outputs_last.transpose(0, 2, 1))
        edited.set_constant(
            operator.inputs[1], rounded.transpose(0, 2, 1).reshape(weights.shape)
        )
        _set_bias(edited, position, bias + shift)
    return edited.to_bytes()


def _with_corrected_biases(
    model: bytes, means: ChannelMeans, in_float: Sequence[str]
) -> bytes:
    """Returns the float model whose biases make up for its weights, once rounded."""
    edited, graph = EditableModel(model), read_tflite(model)
    names = edited.names()
    for layer in _layers(edited, graph):
        operator = edited.graph.operators[layer.position]
        weights, bias = edited.floats(layer.weights), edited.floats(layer.bias)
        kernel = np.moveaxis(weights, CHANNEL_AXES[layer.kind], 0)
        inputs = 1 if layer.kind == "DEPTHWISE_CONV_2D" else weights.shape[-1]
        read = means.get(layer.source.name, [])
        if (
            ";".join(names[index] for index in operator.outputs) in in_float
            or not read
            or layer.source.shape is None
            or len(read) != layer.source.shape[-1]
            or len(read) % inputs  # it flattens what it reads
        ):
            continue
        by_input = kernel.reshape(len(bias), -1, inputs).swapaxes(1, 2)
        shift = bias_shift(by_input, read)
        _set_bias(edited, layer.position, bias + shift)
    edited.empty_unused_buffers()
    return edited.to_bytes()


def _set_bias(
    edited: EditableModel, position: int, values: npt.NDArray[np.float32]
) -> None:
    """Gives a layer another bias. Equal constants are one tensor: others keep it."""
    operator, names = edited.graph.operators[position], edited.names()
    bias = operator.inputs[2]
    if sum(bias in one.inputs for one in edited.graph.operators) == 1:
        edited.set_constant(bias, values)
    else:
        own = f"{names[bias]}/of/{names[operator.outputs[0]]}"
        operator.inputs[2] = edited.add_constant(own, values)


def _ends(io: Io, *, outputs_only: bool = False) -> Recipe:
    """Returns what makes the ends of an int8 model float32 or uint8."""
    if io == "int8":
        return []
    quantizer = _library()
    qtyping = quantizer.qtyping
    recipes = quantizer.recipe_manager.RecipeManager()
    both = (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT)
    for operation in both[1:] if outputs_only else both:
        if io == "float32":
            key = quantizer.algorithm_manager.AlgorithmName.NO_QUANTIZE
            recipes.add_quantization_config(EVERYTHING, operation, algorithm_key=key)
        else:
            recipes.add_quantization_config(EVERYTHING, operation, _unsigned(qtyping))
    return list(recipes.get_quantization_recipe())


def _unsigned(qtyping: Any) -> Any:
    tensor = qtyping.TensorQuantizationConfig
    return qtyping.OpQuantizationConfig(
        activation_tensor_config=tensor(num_bits=8, symmetric=False, dtype="UINT"),
        weight_tensor_config=tensor(
            num_bits=8, symmetric=True, granularity=qtyping.QuantGranularity.CHANNELWISE
        ),
        compute_precision=qtyping.ComputePrecision.INTEGER,
        explicit_dequantize=False,
    )


def _excluded(names: Sequence[str]) -> Recipe:
    """Returns what keeps the operators with these output tensors in float32."""
    if not names:
        return []
    quantizer = _library()
    recipes = quantizer.recipe_manager.RecipeManager()
    for name in names:
        # An operator's scope is its output names, each followed by a semicolon.
        recipes.add_quantization_config(
            f"^{re.escape(name)};$",
            quantizer.qtyping.TFLOperationName.ALL_SUPPORTED,
            algorithm_key=quantizer.algorithm_manager.AlgorithmName.NO_QUANTIZE,
        )
    return list(recipes.get_quantization_recipe())


def _apply(
    model: bytes, recipe: Recipe, calibration: CalibrationResult | None
) -> bytes:
    try:
        with suppress_output():
            done = (
                _library()
                .quantizer.Quantizer(model, recipe)
                .quantize(
                    calibration, enable_progress_bar=False, enable_progress_report=False
                )
            )
    except (KeyError, ValueError, RuntimeError) as error:
        raise ModelError(f"quantization failed: {error}") from error
    return with_inner_buffers(bytes(done.quantized_model))


def _library() -> Any:
    try:
        import ai_edge_quantizer.quantizer
        import ai_edge_quantizer.recipe
    except ImportError as error:
        raise missing_in_checkout("ai-edge-quantizer", "export", error) from error
    return ai_edge_quantizer
