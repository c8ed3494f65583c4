"""Exported files in TensorFlow Lite Micro, which reads nothing behind the flatbuffer.

Expected are the answers of LiteRT's reference kernels: the optimized ones
round a sum in another order now and then.
"""

import re

import numpy as np
import pytest

from edge_runtime.__main__ import main as edge_runtime_main
from edge_runtime.graph.tflite import outer_buffer_bytes, read_tflite
from edge_runtime.model_file.container import read_model_file
from edge_runtime.model_file.released import released_models
from train.data.drawn_faces import drawn_faces
from train.networks.backend import start_keras

start_keras()

import keras  # noqa: E402
from keras import layers  # noqa: E402

from export.convert import quantize_tflite, tflite  # noqa: E402
from export.convert.editable_model import with_inner_buffers  # noqa: E402
from train.quantization.ranges import PIXEL_RANGE  # noqa: E402

# The converters' own; nothing here depends on what they warn of.
pytestmark = pytest.mark.filterwarnings("ignore")

IMAGES = 50


def wide_network():
    """A network with 0.3 MB in int8, which is large enough for outer buffers."""
    keras.utils.set_random_seed(4)
    pixels = keras.Input((16, 16, 3))
    values = layers.Rescaling(1 / 255)(pixels)
    values = layers.Conv2D(64, 3, strides=2, padding="same", activation="relu")(values)
    values = layers.Conv2D(256, 3, padding="same", activation="relu")(values)
    values = layers.MaxPooling2D(2)(values)
    values = layers.Conv2D(64, 3, padding="same", activation="relu")(values)
    return keras.Model(pixels, layers.Dense(5)(layers.Flatten()(values)))


@pytest.fixture(scope="module")
def wide():
    return tflite.to_tflite(wide_network())


@pytest.fixture(scope="module")
def wide_ranges(wide):
    graph = read_tflite(wide)
    activations = [tensor for tensor in graph.tensors if not tensor.constant]
    ranges = {tensor.name: (-1.0, 1.0) for tensor in activations}
    ends = {graph.inputs[0]: PIXEL_RANGE, graph.outputs[0]: (-0.2, 0.2)}
    return ranges | {graph.tensors[i].name: range for i, range in ends.items()}


def random_inputs(model):
    graph = read_tflite(model)
    tensor = graph.tensors[graph.inputs[0]]
    limits = np.iinfo(tensor.dtype)
    return np.random.default_rng(6).integers(
        limits.min, limits.max + 1, (IMAGES, *tensor.shape), tensor.dtype
    )


def reference_outputs(model, inputs):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    (source,), (target,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )
    outputs = []
    for one in inputs:
        interpreter.set_tensor(source["index"], one)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(target["index"])[0])
    return np.array(outputs)


def micro_outputs(model, inputs, **settings):
    runtime = pytest.importorskip(
        "tflite_micro", reason="tflite-micro is not installed"
    ).runtime
    interpreter = runtime.Interpreter.from_bytes(model, **settings)
    outputs = []
    for one in inputs:
        interpreter.set_input(one, 0)
        interpreter.invoke()
        outputs.append(np.array(interpreter.get_output(0))[0])
    return np.array(outputs)


@pytest.mark.parametrize("name", released_models())
def test_released_model_is_right_in_micro_within_96_kilobytes(name):
    model = read_model_file(released_models()[name].path).model
    faces, _ = drawn_faces(IMAGES, 6)
    inputs = (faces.astype(np.int16) - 128).astype(np.int8)[:, np.newaxis, ..., None]
    expected = reference_outputs(model, inputs)
    assert len(np.unique(expected.argmax(axis=1))) > 1
    assert np.array_equal(micro_outputs(model, inputs, arena_size=96_000), expected)


def test_small_model_is_right_in_micro(tiny_model_path):
    model = read_model_file(tiny_model_path).model
    inputs = random_inputs(model)
    assert np.array_equal(
        micro_outputs(model, inputs), reference_outputs(model, inputs)
    )


# Micro's kernels round a sum in one place instead of two: 0 to 2 of 250 logits of ten
# such networks differ by a step in int8.
@pytest.mark.parametrize(
    ("bits", "same"), [(8, 0.99), (16, 0)], ids=["int8", "int16x8"]
)
def test_large_integer_model_is_right_in_micro(wide, wide_ranges, bits, same):
    model = quantize_tflite.quantize(wide, wide_ranges, activation_bits=bits)
    inputs = random_inputs(model)
    expected = reference_outputs(model, inputs).astype(int)
    assert np.ptp(expected) > 50
    differences = np.abs(micro_outputs(model, inputs) - expected)
    assert differences.max() <= 1
    assert np.mean(differences == 0) >= same


def test_every_quantized_format_keeps_its_constants_inside(wide, wide_ranges):
    models = {
        "int8": quantize_tflite.quantize(wide, wide_ranges),
        "uint8": quantize_tflite.quantize(wide, wide_ranges, io="uint8"),
        "float io": quantize_tflite.quantize(wide, wide_ranges, io="float32"),
        "int16x8": quantize_tflite.quantize(wide, wide_ranges, activation_bits=16),
        "float16": quantize_tflite.to_float16(wide),
        "dynamic range": quantize_tflite.to_dynamic_range(wide),
    }
    assert {name: outer_buffer_bytes(model) for name, model in models.items()} == (
        dict.fromkeys(models, 0)
    )


@pytest.fixture(scope="module")
def outside(wide, wide_ranges):
    """The int8 model as ai-edge-quantizer writes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantize_tflite, "with_inner_buffers", bytes)
        return quantize_tflite.quantize(wide, wide_ranges)


def test_moving_constants_inside_changes_no_answer(outside):
    inside = with_inner_buffers(outside)
    assert (outer_buffer_bytes(outside) > 200_000, outer_buffer_bytes(inside)) == (
        True,
        0,
    )
    inputs = random_inputs(inside)
    assert np.array_equal(
        reference_outputs(inside, inputs), reference_outputs(outside, inputs)
    )
    assert with_inner_buffers(inside) is inside


def test_written_buffers_are_aligned_as_the_schema_demands(outside):
    from ai_edge_litert.schema_py_generated import Model

    inside = with_inner_buffers(outside)
    start = np.frombuffer(inside, np.uint8).ctypes.data
    model = Model.GetRootAs(inside)
    buffers = [model.Buffers(i) for i in range(model.BuffersLength())]
    data = [buffer.DataAsNumpy() for buffer in buffers if buffer.DataLength()]
    assert len(data) > 8
    assert {(one.ctypes.data - start) % 16 for one in data} == {0}


def test_check_says_that_constants_lie_behind_the_flatbuffer(outside, tmp_path, capsys):
    path = tmp_path / "pets.int8.tflite"
    path.write_bytes(outside)
    assert edge_runtime_main(["check", str(path)]) == 0
    (note,) = re.findall(
        r"^note: (.*behind the flatbuffer.*)$", capsys.readouterr().out, re.MULTILINE
    )
    assert "TensorFlow Lite Micro" in note
    path.write_bytes(with_inner_buffers(outside))
    assert edge_runtime_main(["check", str(path)]) == 0
    assert "behind the flatbuffer" not in capsys.readouterr().out
