"""Biases that make up for rounded weights."""

from types import SimpleNamespace

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.networks.backend import start_keras

start_keras()

import keras  # noqa: E402
from keras import layers  # noqa: E402

from edge_runtime.errors import ModelError  # noqa: E402
from edge_runtime.graph.tflite import read_tflite  # noqa: E402
from export.analysis.debugger import measure_layers  # noqa: E402
from export.calibration.activations import onnx_reader, tflite_reader  # noqa: E402
from export.calibration.measure import measure_ranges  # noqa: E402
from export.calibration.record import CalibrationRecord, sha256_of  # noqa: E402
from export.convert import onnx_model, quantize_tflite, tflite  # noqa: E402
from export.convert.bias_correction import bias_shift  # noqa: E402
from export.convert.converted_model import ConvertedModel  # noqa: E402
from export.convert.editable_model import EditableModel  # noqa: E402
from export.convert.pixel_scaling import fold_rescaling  # noqa: E402
from train.quantization.ranges import MeasuredRanges  # noqa: E402

# The converters' own; nothing here depends on what they warn of.
pytestmark = pytest.mark.filterwarnings("ignore")

OPEN = {
    "tflite": (tflite.to_tflite, tflite_reader),
    "onnx": (onnx_model.to_onnx, onnx_reader),
}
KINDS = tuple(OPEN)
WEIGHTS = st.floats(-8, 8, width=32)
KERNELS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 9)),
    elements=WEIGHTS,
)


def rounded(kernel):
    step = np.abs(kernel).max(axis=(1, 2), keepdims=True).astype(np.float64) / 127
    step[step == 0] = 1
    return np.rint(kernel / step) * step


@given(kernel=KERNELS, data=st.data())
def test_a_rounded_kernel_answers_an_even_area_as_the_exact_one(kernel, data):
    means = np.array([data.draw(st.floats(0, 6)) for _ in range(kernel.shape[1])])
    exact, coarse = (
        (one * means[:, None]).sum(axis=(1, 2)) for one in (kernel, rounded(kernel))
    )
    assert np.allclose(coarse + bias_shift(kernel, list(means)), exact, atol=1e-3)


def test_each_group_reads_its_own_channels():
    lost = 0.0039  # less than half a step
    kernel = np.tile(np.array([[1.0], [lost]], np.float32), (4, 1, 1))
    means = [2.0, 10.0, 3.0, 20.0]  # two groups of two channels, two outputs each
    expected = [lost * 10, lost * 10, lost * 20, lost * 20]
    assert bias_shift(kernel, means) == pytest.approx(expected, rel=1e-5)


def test_each_output_of_a_depthwise_layer_reads_one_channel():
    kernel = np.tile(np.array([[1.0, 0.0039]], np.float32), (4, 1, 1))
    expected = [0.0039 * mean for mean in (2, 2, 10, 10)]
    assert bias_shift(kernel, [2.0, 10.0]) == pytest.approx(expected, rel=1e-5)


def network():
    """All kinds of layers with weights: behind ReLU6, as in EfficientNet-Lite."""
    keras.utils.set_random_seed(6)
    generator = np.random.default_rng(6)
    pixels = keras.Input((16, 16, 3))
    values = layers.Rescaling(1 / 255)(pixels)
    for name, layer in {
        "first": layers.Conv2D(16, 3, strides=2, padding="same", name="first"),
        "depthwise": layers.DepthwiseConv2D(3, padding="same", name="depthwise"),
        "grouped": layers.Conv2D(32, 3, groups=4, padding="same", name="grouped"),
        "pointwise": layers.Conv2D(48, 1, name="pointwise"),
    }.items():
        values = layers.ReLU(6.0, name=f"{name}_relu")(layer(values))
    values = layers.GlobalAveragePooling2D()(values)
    model = keras.Model(pixels, layers.Dense(12, name="last")(values))
    for layer in model.layers:
        if weights := layer.get_weights():
            # One weight is large: the others share its coarse steps.
            kernel = generator.normal(size=weights[0].shape) / 40
            kernel.reshape(-1, kernel.shape[-1])[0] = 1.0
            if layer.name == "depthwise":
                kernel[0, 0] = 1.0
            layer.set_weights([kernel, generator.uniform(0.5, 1.5, weights[1].shape)])
    return model


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)


def quantize(kind, exact, measured, means):
    if kind == "tflite":
        return quantize_tflite.quantize(exact, measured.clipped, means=means)
    return onnx_model.quantize(exact, measured.clipped, means)


@pytest.fixture(scope="module", params=KINDS)
def made(request):
    """Float and int8 files, without and with means, and the logits of new images."""
    kind = request.param
    convert, open_reader = OPEN[kind]
    exact = convert(fold_rescaling(network()))
    measured = measure_ranges(open_reader(exact), noise(1))
    plain = quantize(kind, exact, measured, None)
    corrected = quantize(kind, exact, measured, measured.means)
    logits = [
        ConvertedModel(f"{kind}-{name}", model).logits(noise(2))
        for name, model in (("float32", exact), ("int8", plain), ("int8", corrected))
    ]
    return SimpleNamespace(
        kind=kind, exact=exact, measured=measured, plain=plain, logits=logits
    )


def test_means_are_of_what_layers_with_weights_read(made):
    sizes = sorted(len(means) for means in made.measured.means.values())
    assert sizes == [3, 16, 16, 32, 48]
    assert 100 < min(made.measured.means.values(), key=len)[0] < 155  # pixels


def test_the_mean_error_of_the_logits_is_at_most_a_third(made):
    exact, plain, corrected = made.logits
    before, after = (
        np.abs((each - exact).mean(axis=0)).mean() for each in (plain, corrected)
    )
    assert after < before / 3
    assert np.square(corrected - exact).mean() < np.square(plain - exact).mean()


def test_the_bias_of_a_layer_in_float_stays():
    exact = tflite.to_tflite(fold_rescaling(network()))
    measured = measure_ranges(tflite_reader(exact), noise(1))
    names = EditableModel(exact).names()
    layer = next(
        one for one in read_tflite(exact).operators if one.name == "DEPTHWISE_CONV_2D"
    )
    mixed = quantize_tflite.quantize(
        exact,
        measured.clipped,
        means=measured.means,
        in_float=[names[layer.outputs[0]]],
    )
    kept = next(
        one for one in read_tflite(mixed).operators if one.name == "DEPTHWISE_CONV_2D"
    )
    before = EditableModel(exact).floats(layer.inputs[2])
    assert np.array_equal(EditableModel(mixed).floats(kept.inputs[2]), before)


def test_layers_are_debugged_with_the_biases_of_the_file():
    exact = tflite.to_tflite(fold_rescaling(network()))
    measured = measure_ranges(tflite_reader(exact), noise(1))
    errors = {}
    for name, means in (("plain", None), ("corrected", measured.means)):
        int8 = quantize("tflite", exact, measured, means)
        ranking = measure_layers(exact, int8, noise(2), ["depthwise", "pointwise"])
        errors[name] = {one.layer.label: one.own_snr_db for one in ranking}
    assert errors["corrected"]["pointwise"] > errors["plain"]["pointwise"] + 1


def test_a_layer_that_flattens_what_it_reads_keeps_its_bias():
    keras.utils.set_random_seed(7)
    pixels = keras.Input((4, 4, 3))
    values = layers.Flatten()(layers.MaxPooling2D()(pixels))
    edited = EditableModel(
        tflite.to_tflite(keras.Model(pixels, layers.Dense(3)(values)))
    )
    pooled, flattened, dense = edited.graph.operators
    dense.inputs[0] = pooled.outputs[0]
    edited.graph.operators.remove(flattened)
    exact = edited.to_bytes()
    images = noise(1)[:, :4, :4]
    measured = measure_ranges(tflite_reader(exact), images)
    assert measured.means
    assert quantize("tflite", exact, measured, measured.means) == quantize(
        "tflite", exact, measured, None
    )


def bias_free_network():
    """Its zero biases are one tensor in TFLite, and none at all in ONNX."""
    keras.utils.set_random_seed(8)
    generator = np.random.default_rng(8)
    pixels = keras.Input((16, 16, 3))
    values = layers.Rescaling(1 / 255)(pixels)
    for name in ("one", "two", "three"):
        values = layers.Conv2D(
            16, 3, use_bias=False, activation="relu", padding="same", name=name
        )(values)
    values = layers.GlobalAveragePooling2D()(values)
    model = keras.Model(pixels, layers.Dense(5, name="last")(values))
    for name in ("one", "two", "three"):
        (kernel,) = model.get_layer(name).get_weights()
        kernel = np.abs(generator.normal(size=kernel.shape)) / 100
        kernel.reshape(-1, 16)[0] = 1.0
        model.get_layer(name).set_weights([kernel])
    return model


def test_even_rounding_leaves_the_biases_of_others():
    exact = tflite.to_tflite(fold_rescaling(bias_free_network()))
    ranges = measure_ranges(tflite_reader(exact), noise(1)).clipped
    int8 = quantize_tflite.quantize(exact, ranges)
    _, *others = (one for one in read_tflite(int8).operators if one.name == "CONV_2D")
    edited = EditableModel(int8)
    assert len(others) == 2
    assert not any(edited.constant(one.inputs[2]).any() for one in others)


def test_no_constant_is_left_without_a_layer():
    exact = tflite.to_tflite(fold_rescaling(bias_free_network()))
    measured = measure_ranges(tflite_reader(exact), noise(1))
    graph = read_tflite(quantize("tflite", exact, measured, measured.means))
    read = {index for operator in graph.operators for index in operator.inputs}
    constants = {i for i, tensor in enumerate(graph.tensors) if tensor.constant}
    assert constants <= read
    assert "float32" not in {tensor.dtype for tensor in graph.tensors}


@pytest.mark.parametrize("kind", KINDS)
def test_layers_without_a_bias_get_one_each(kind):
    convert, open_reader = OPEN[kind]
    exact = convert(fold_rescaling(bias_free_network()))
    measured = measure_ranges(open_reader(exact), noise(1))
    expected = ConvertedModel(f"{kind}-float32", exact).logits(noise(2))
    before, after = (
        np.abs(ConvertedModel(f"{kind}-int8", model).logits(noise(2)) - expected).mean()
        for model in (
            quantize(kind, exact, measured, None),
            quantize(kind, exact, measured, measured.means),
        )
    )
    assert after < before / 2


def test_layers_in_a_loop_keep_their_biases():
    keras.utils.set_random_seed(9)
    pixels = keras.Input((16, 16, 3))
    values = layers.GRU(4, unroll=False)(layers.Reshape((16, 48))(pixels))
    exact = tflite.to_tflite(keras.Model(pixels, layers.Dense(3)(values)))
    measured = measure_ranges(tflite_reader(exact), noise(1))
    for means in (None, measured.means):
        with pytest.raises(ModelError):
            quantize("tflite", exact, measured, means)


def test_channels_of_a_flattened_image_are_not_measured(monkeypatch):
    monkeypatch.setattr("export.calibration.measure.MOST_CHANNELS", 16)
    exact = tflite.to_tflite(fold_rescaling(network()))
    means = measure_ranges(tflite_reader(exact), noise(1)).means
    assert sorted(map(len, means.values())) == [3, 16, 16]


@pytest.mark.parametrize("means", [{}, {"t": [0.25, 0.5]}])
def test_record_keeps_means_and_does_without(tmp_path, means):
    model, path = tmp_path / "model.keras", tmp_path / "ranges.json"
    model.write_bytes(b"one")
    ranges = {"t": (0.0, 1.0)}
    measured = MeasuredRanges(ranges, ranges, means)
    nothing = MeasuredRanges()
    record = CalibrationRecord(sha256_of(model), {}, measured, nothing, {})
    record.save(path)
    assert ("means" in path.read_text()) == bool(means)
    assert CalibrationRecord.load(path, model) == record
