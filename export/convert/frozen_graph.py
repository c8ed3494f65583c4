"""Keras to a TensorFlow graph of plain operations: weights are constants, nothing is
random, and no function is called.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras

from edge_runtime.errors import missing_in_checkout

COMPILED, PLAIN = "_XlaMustCompile", "_plain"


class FrozenGraph(NamedTuple):
    """A TensorFlow graph.

    Attributes:
        graph: The ``GraphDef``.
        input: Name of the input tensor, pixels (N, S, S, C).
        output: Name of the output tensor, logits.
    """

    graph: Any
    input: str
    output: str


def freeze(model: keras.Model) -> FrozenGraph:
    """Returns the graph that a model computes when it does not train.

    Args:
        model: Takes (N, S, S, C) pixels, gives logits.

    Raises:
        MissingDependencyError: TensorFlow is not installed.
    """
    try:
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import (
            convert_variables_to_constants_v2,
        )
    except ImportError as error:
        raise missing_in_checkout("tensorflow", "export", error) from error
    shape = (None, *model.inputs[0].shape[1:])
    signature = [tf.TensorSpec(shape, tf.float32, name="pixels")]
    function = tf.function(
        lambda pixels: model(pixels, training=False), input_signature=signature
    )
    # Constants that a layer holds as tensors, such as the mean of Normalization, would
    # be inputs of the graph otherwise.
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    graph = frozen.graph.as_graph_def()
    if _allow_inlining(graph):
        inner = tf.compat.v1.wrap_function(
            lambda pixels: tf.graph_util.import_graph_def(
                graph,
                input_map={frozen.inputs[0].name: pixels},
                return_elements=[frozen.outputs[0].name],
                name="",
            ),
            signature,
        )
        frozen = convert_variables_to_constants_v2(inner)
        graph = frozen.graph.as_graph_def()
    _write_erfc_as_erf(graph)
    return FrozenGraph(graph, frozen.inputs[0].name, frozen.outputs[0].name)


def _allow_inlining(graph: Any) -> bool:
    """Lets functions that Keras compiles (grouped convolutions) be written out.

    Returns:
        Whether there are any.
    """
    functions = graph.library.function
    nodes = [*graph.node, *(node for one in functions for node in one.node_def)]
    found = any(one.attr[COMPILED].b for one in functions if COMPILED in one.attr)
    for one in (*nodes, *functions):
        for attribute in (COMPILED, "_noinline"):
            if attribute in one.attr:
                del one.attr[attribute]
    # TensorFlow refuses another function of the same name.
    for one in functions:
        one.signature.name += PLAIN
    for node in nodes:
        for value in node.attr.values():
            if value.HasField("func"):
                value.func.name += PLAIN
    return found


def _write_erfc_as_erf(graph: Any) -> None:
    """Writes erfc(x) as 1 - erf(x): ONNX has no operator for it."""
    for node in [node for node in graph.node if node.op == "Erfc"]:
        dtype = node.attr["T"]
        erf, one = graph.node.add(), graph.node.add()
        erf.name, erf.op = f"{node.name}/erf", "Erf"
        erf.input.extend(node.input)
        erf.attr["T"].CopyFrom(dtype)
        one.name, one.op = f"{node.name}/one", "Const"
        one.attr["dtype"].CopyFrom(dtype)
        value = one.attr["value"].tensor
        value.dtype = dtype.type
        value.tensor_shape.SetInParent()
        value.float_val.append(1.0)
        node.op = "Sub"
        del node.input[:]
        node.input.extend([one.name, erf.name])
