"""Keras to ONNX: float32, and int8 in QDQ form from recorded activation ranges."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edge_runtime.errors import (
    MissingDependencyError,
    ModelError,
    missing_in_checkout,
)
from edge_runtime.utils.onnxruntime import import_onnxruntime
from export.convert.bias_correction import bias_shift
from export.convert.frozen_graph import freeze
from export.suppress_output import suppress_output
from train.quantization.even_rounding import round_evenly
from train.quantization.ranges import PIXEL_RANGE, ChannelMeans, Ranges

INPUT, OUTPUT, BATCH = "pixels", "logits", "batch"
OPSET = 17
MOVING = ("Transpose", "Reshape")  # to channels first
WITH_BIAS = ("Conv", "Gemm")


def to_onnx(model: keras.Model, opset: int = OPSET) -> bytes:
    """Returns the float32 ONNX model: batch size free, channels last.

    BatchNorm is folded and all names are numbered in order, so that the same network
    always gives the same bytes.

    Args:
        model: Takes (N, S, S, C) pixels, gives logits.
        opset: Version of the ONNX operators.

    Raises:
        MissingDependencyError: onnx, tf2onnx or onnxruntime is not installed.
        ModelError: ONNX or the converter does not know one of its operators.
    """
    try:
        import onnx
        import tf2onnx

        quantization = import_onnxruntime("quantization")
    except ImportError as error:
        raise missing_in_checkout(
            "onnx, tf2onnx or onnxruntime", "export", error
        ) from error
    with tempfile.TemporaryDirectory() as folder, suppress_output():
        raw, folded = Path(folder) / "raw.onnx", Path(folder) / "folded.onnx"
        try:
            frozen = freeze(model)
            converted, _ = tf2onnx.convert.from_graph_def(
                frozen.graph,
                input_names=[frozen.input],
                output_names=[frozen.output],
                opset=opset,
            )
        except MissingDependencyError:
            raise
        except Exception as error:  # converters raise many kinds
            reason = str(error).strip().splitlines() or [repr(error)]
            raise ModelError(
                f"ONNX cannot express this model: {reason[0][:300]}"
            ) from error
        _require_known_operators(converted)
        onnx.save(converted, raw)
        try:
            # Fuses what can be fused. Symbolic shapes would need sympy for nothing.
            quantization.quant_pre_process(
                str(raw), str(folded), skip_symbolic_shape=True
            )
            return _canonical(onnx.load(folded))
        except Exception as error:
            raise ModelError(
                "ONNX Runtime does not take the converted model (operators:"
                f" {', '.join(sorted({node.op_type for node in converted.graph.node}))}"
                f"): {(str(error).splitlines() or [''])[0][:300]}"
            ) from error


def _require_known_operators(model: Any) -> None:
    """Raises ModelError where an operator is none of ONNX: it was not converted."""
    import onnx

    version = next(one.version for one in model.opset_import if not one.domain)
    unknown = {
        node.op_type
        for node in model.graph.node
        if not onnx.defs.has(node.op_type, version, node.domain)
    }
    if unknown:
        raise ModelError(
            f"ONNX has no operator for {', '.join(sorted(unknown))} of TensorFlow"
        )


def quantize(model: bytes, ranges: Ranges, means: ChannelMeans | None = None) -> bytes:
    """Returns the int8 QDQ model: weights per channel, activations per tensor.

    Args:
        model: A float32 ONNX model.
        ranges: Activation ranges by tensor name, see ``export.calibration``.
        means: Of channels, with which biases make up for rounded weights.

    Raises:
        ModelError: The ranges belong to another model.
    """
    import onnx

    quantization = import_onnxruntime("quantization")
    calibrate = import_onnxruntime("quantization.calibrate")
    qdq_quantizer = import_onnxruntime("quantization.qdq_quantizer")
    registry = import_onnxruntime("quantization.registry")
    parsed = onnx.load_from_string(model)
    # Pixels stay exact in another layout, too: none of the images may contain a 255.
    pixels = _pixel_tensors(parsed.graph) & ranges.keys()
    values = {
        name: calibrate.TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in {
            **ranges,
            **dict.fromkeys(pixels, PIXEL_RANGE),
        }.items()
    }
    measured = calibrate.TensorsData(quantization.CalibrationMethod.MinMax, values)
    try:
        with suppress_output():
            quantizer = qdq_quantizer.QDQQuantizer(
                _with_corrected_biases(_evenly_rounded(parsed), means or {}),
                per_channel=True,
                reduce_range=False,
                weight_qType=quantization.QuantType.QInt8,
                # Unsigned: 2.5 times as fast as signed on x86 with VNNI.
                activation_qType=quantization.QuantType.QUInt8,
                tensors_range=measured,
                nodes_to_quantize=[],
                nodes_to_exclude=[],
                op_types_to_quantize=list(registry.QDQRegistry),
                extra_options={},
            )
            quantizer.quantize_model()
            quantizer.model.topological_sort()  # it appends; the standard wants order
    except (KeyError, ValueError) as error:
        raise ModelError(
            "the recorded activation ranges belong to another model: measure them"
            f" again with --calibration-data ({error})"
        ) from error
    return _canonical(quantizer.model.model)


def _evenly_rounded(model: Any) -> Any:
    """Returns a model whose first convolution is rounded evenly."""
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    pixels = _pixel_tensors(model.graph)
    for node in model.graph.node:
        if not pixels.intersection(node.input[:1]):
            continue
        constants = [tensors[name] for name in node.input[1:] if name in tensors]
        if node.op_type != "Conv" or len(constants) < len(node.input) - 1:
            continue
        weights, *biases = (numpy_helper.to_array(constant) for constant in constants)
        flat = weights.reshape(*weights.shape[:2], -1)
        rounded, shift = round_evenly(flat)
        changed = [rounded.reshape(weights.shape), *(bias + shift for bias in biases)]
        for place, values in enumerate(changed, start=1):
            _give_constant(model.graph, node, place, values)
    return model


def _with_corrected_biases(model: Any, means: ChannelMeans) -> Any:
    """Returns a model whose biases make up for its weights, once rounded."""
    from onnx import helper
    from onnx.numpy_helper import to_array

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type not in WITH_BIAS or node.input[0] not in means:
            continue
        known = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        scaled = known.get("alpha", 1) != 1 or known.get("beta", 1) != 1
        constant = all(name in tensors for name in node.input[1:])
        if scaled or known.get("transA") or not constant:
            continue
        kernel, *biases = (to_array(tensors[name]) for name in node.input[1:])
        if node.op_type == "Gemm" and not known.get("transB"):
            kernel = kernel.T
        bias = biases[0] if biases else np.zeros(len(kernel), np.float32)
        if not biases:
            node.input.append("bias")
        by_input = kernel.reshape(*kernel.shape[:2], -1)
        corrected = bias + bias_shift(by_input, means[node.input[0]])
        _give_constant(model.graph, node, 2, corrected)
    return model


def _give_constant(graph: Any, node: Any, place: int, values: Any) -> None:
    """Gives a node another constant; others may read the old one."""
    from onnx import numpy_helper

    node.input[place] = f"{node.input[place]}_of_{node.output[0]}"
    graph.initializer.append(numpy_helper.from_array(values, node.input[place]))


def _pixel_tensors(graph: Any) -> set[str]:
    """Returns the input and the tensors with the same pixels in another layout."""
    pixels = {INPUT}
    for node in graph.node:
        if node.op_type in MOVING and pixels.intersection(node.input[:1]):
            pixels.update(node.output)
    return pixels


def _canonical(model: Any) -> bytes:
    """Returns a model's bytes with names and order that depend on the network only.

    Converters number names by what was converted before and iterate over sets.
    """
    graph = model.graph
    nodes = [copy.deepcopy(node) for node in _in_order(graph)]
    del graph.node[:]
    graph.node.extend(nodes)
    names = {graph.input[0].name: INPUT, graph.output[0].name: OUTPUT}
    for node in graph.node:
        for name in (*node.input, *node.output):
            if name:
                names.setdefault(name, f"t{len(names)}")
    for position, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{position}"
        node.doc_string = ""
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    tensors = {names[t.name]: t for t in graph.initializer if t.name in names}
    for name, tensor in tensors.items():
        tensor.name = name
        tensor.doc_string = ""
    ordered = sorted(tensors.values(), key=lambda tensor: int(tensor.name[1:]))
    tensors_in_order = [copy.deepcopy(tensor) for tensor in ordered]
    del graph.initializer[:]
    graph.initializer.extend(tensors_in_order)
    for value in (graph.input[0], graph.output[0]):
        value.name = names[value.name]
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    del graph.value_info[:]
    del model.metadata_props[:]
    # ONNX Runtime names all domains it knows.
    used = {node.domain for node in graph.node}
    imports = [one for one in model.opset_import if one.domain in used]
    imports = [copy.deepcopy(one) for one in imports]
    del model.opset_import[:]
    model.opset_import.extend(imports)
    # tf2onnx writes down how many functions this process had traced before.
    graph.doc_string = ""
    graph.name, model.producer_version = "fer_edge", ""
    return bytes(model.SerializeToString(deterministic=True))


def _in_order(graph: Any) -> list[Any]:
    """Returns the nodes depth first from the output, each after those it reads.

    Converters write two branches now in this, now in the other order.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    ordered: list[Any] = []
    done: set[str] = set()
    waiting = [graph.output[0].name]
    while waiting:
        name = waiting[-1]
        node = made_by.get(name)
        missing = [name for name in node.input if name not in done] if node else []
        if missing:
            waiting.append(missing[0])
            continue
        waiting.pop()
        done.add(name)
        if node and not any(node is earlier for earlier in ordered):
            ordered.append(node)
    return ordered
