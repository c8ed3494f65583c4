"""How int8 chooses its ranges and rounds the first convolution."""

from types import SimpleNamespace

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.graph.tflite import read_tflite
from train.networks.backend import start_keras

start_keras()

import keras  # noqa: E402
import onnx  # noqa: E402
from keras import layers  # noqa: E402
from onnx import numpy_helper  # noqa: E402

from export.calibration.activations import (  # noqa: E402
    ActivationReader,
    onnx_reader,
    tflite_reader,
)
from export.calibration.measure import measure_ranges  # noqa: E402
from export.calibration.record import CalibrationRecord  # noqa: E402
from export.convert import onnx_model, tflite  # noqa: E402
from export.convert.converted_model import ConvertedModel  # noqa: E402
from export.convert.editable_model import EditableModel  # noqa: E402
from export.convert.formats import FloatModels, convert  # noqa: E402
from export.convert.quantize_tflite import quantize  # noqa: E402
from train.quantization.even_rounding import round_evenly  # noqa: E402
from train.quantization.measure import BINS, least_squares  # noqa: E402

# The converters' own; nothing here depends on what they warn of.
pytestmark = pytest.mark.filterwarnings("ignore")

BRIGHT = 255


def noise(count, size, channels=1, *, below=256):
    """Always the same noise pictures, uint8 (N, S, S, C)."""
    shape = (count, size, size, channels)
    return np.random.default_rng(count).integers(0, below, shape, dtype=np.uint8)


def histogram(values):
    low, high = float(values.min()), float(values.max())
    places = ((values - low) * (BINS / (high - low))).astype(int)
    return np.bincount(np.minimum(places, BINS - 1), minlength=BINS), (low, high)


def test_evenly_spread_values_are_not_clipped():
    counts, whole = histogram(np.linspace(0, 3, 100_000))
    assert least_squares(counts, whole) == whole


def test_bell_shaped_values_are_clipped_near_four_deviations():
    """For a normal distribution and 8 bits the best is known: 3.92 deviations,
    Banner et al., https://arxiv.org/abs/1810.05723, table 1 (in steps of the grid)."""
    counts, whole = histogram(np.random.default_rng(1).standard_normal(4_000_000))
    low, high = least_squares(counts, whole)
    assert 3.5 < high < 4.5
    assert -4.5 < low < -3.5


def test_a_single_outlier_does_not_set_the_range():
    counts, whole = histogram(np.append(np.linspace(0, 1, 100_000), 12.0))
    counts[:-1] *= 100  # one of ten million
    assert whole[1] == 12.0
    assert least_squares(counts, whole)[1] < 1.2


def test_logits_are_not_clipped_where_an_inner_tensor_of_the_same_values_is():
    values = np.append(np.linspace(0, 1, 100_000), 12).astype(np.float32)
    read = {"pixels": values, "inner": values, "logits": values}
    reader = ActivationReader(lambda _: read, "pixels", "logits", frozenset(), -1)
    measured = measure_ranges(reader, noise(1, 2))
    assert measured.clipped["inner"][1] < 12
    assert measured.clipped["logits"] == (0, 12)
    assert measured.clipped["pixels"] == (0, 255)


# --- a network with a planted outlier ----------------------------------------------


def planted_network():
    """Random weights; one channel is silent but for a pixel of 255, and then loud.

    All other channels share its steps.
    """
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            layers.Conv2D(12, 1, activation="relu", name="planted"),
            layers.Conv2D(8, 3, strides=4, activation="relu"),
            layers.Flatten(),
            layers.Dense(4),
        ]
    )
    kernel, bias = model.get_layer("planted").get_weights()
    kernel[...] = np.random.default_rng(3).uniform(-1, 1, kernel.shape) / 100
    bias[:] = -kernel[0, 0, 0] * 100
    kernel[..., 0], bias[0] = 50.0, -50.0 * (BRIGHT - 2)
    model.get_layer("planted").set_weights([kernel, bias])
    return model


@pytest.fixture(scope="module")
def planted():
    """The network, its ranges where one image has one bright pixel, and new images."""
    model = planted_network()
    images = noise(400, 32, below=200)
    images[7, 3, 3] = BRIGHT
    exact = tflite.to_tflite(model)
    onnx_exact = onnx_model.to_onnx(model)
    unseen = noise(200, 32, below=200)
    return SimpleNamespace(
        exact=exact,
        onnx=onnx_exact,
        ranges=measure_ranges(tflite_reader(exact), images),
        onnx_ranges=measure_ranges(onnx_reader(onnx_exact), images),
        unseen=unseen,
        logits=ConvertedModel("tflite-float32", exact).logits(unseen),
    )


def agreement(planted, converted):
    logits = converted.logits(planted.unseen)
    return np.mean(logits.argmax(axis=1) == planted.logits.argmax(axis=1))


def test_one_outlier_ruins_int8_with_whole_ranges(planted):
    model = quantize(planted.exact, planted.ranges.whole)
    assert agreement(planted, ConvertedModel("tflite-int8", model)) < 0.85


def test_one_outlier_does_not_harm_int8_with_clipped_ranges(planted):
    model = quantize(planted.exact, planted.ranges.clipped)
    assert agreement(planted, ConvertedModel("tflite-int8", model)) > 0.9


def test_one_outlier_does_not_harm_int8_onnx_with_clipped_ranges(planted):
    whole = onnx_model.quantize(planted.onnx, planted.onnx_ranges.whole)
    assert agreement(planted, ConvertedModel("onnx-int8", whole)) < 0.85
    clipped = onnx_model.quantize(planted.onnx, planted.onnx_ranges.clipped)
    assert agreement(planted, ConvertedModel("onnx-int8", clipped)) > 0.9


@pytest.fixture(scope="module")
def record(planted):
    return CalibrationRecord("", {}, planted.ranges, planted.onnx_ranges, {})


def largest_value(model, format_):
    """The largest value that the output of the first convolution can hold."""
    tensor = read_tflite(model).operators[0].outputs[0]
    found = read_tflite(model).tensors[tensor]
    largest = {"int8": 127, "int16x8": 32767}[format_]
    return float(found.scales[0]) * (largest - int(found.zero_points[0]))


@pytest.mark.parametrize(("format_", "holds"), [("int8", False), ("int16x8", True)])
def test_int16_holds_the_outlier_and_int8_does_not(planted, record, format_, holds):
    floats = FloatModels(tflite=lambda: planted.exact, onnx=lambda: planted.onnx)
    ranges = {"tflite_ranges": record.tflite, "onnx_ranges": record.onnx}
    converted = convert(format_, floats, **ranges)
    outlier = max(high for _, high in planted.ranges.whole.values() if high != BRIGHT)
    assert (largest_value(converted.model, format_) >= 0.999 * outlier) == holds


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_pixels_are_never_clipped(record, kind):
    measured = getattr(record, kind)
    assert measured.clipped.keys() == measured.whole.keys()
    assert (0.0, 255.0) in measured.clipped.values()


# --- the first convolution ---------------------------------------------------------

KERNELS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 25)),
    elements=st.floats(-8, 8, width=32),
)


@given(kernel=KERNELS)
def test_even_rounding_keeps_sums_and_the_largest_weight(kernel):
    rounded, shift = round_evenly(kernel)
    peak = np.abs(kernel).max(axis=(1, 2))
    step = np.maximum(peak / 127, 1e-45).astype(np.float64)
    sums = kernel.astype(np.float64).sum(axis=2), rounded.astype(np.float64).sum(axis=2)
    # Half a step, and what float32 cannot hold.
    allowed = 0.5 * step + 1e-5 * peak + 1e-44
    assert (np.abs(sums[0] - sums[1]) <= allowed[:, None]).all()
    assert (np.abs(rounded - kernel) <= (1.0001 * step + 1e-44)[:, None, None]).all()
    assert np.array_equal(np.abs(rounded).max(axis=(1, 2)), peak)
    left = (sums[1] - sums[0]).sum(axis=1) * 127.5
    assert np.allclose(shift, -left, atol=0.02 * float(peak.max()) + 1e-30)


def difference_network(channels):
    """Its first kernels find differences: on an even picture all are zero."""
    keras.utils.set_random_seed(4)
    model = keras.Sequential(
        [
            keras.Input((12, 12, channels)),
            layers.Conv2D(6, 3, name="first", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, name="last"),
        ]
    )
    kernel = np.random.default_rng(4).uniform(-1, 1, (3, 3, channels, 6))
    kernel -= kernel.mean(axis=(0, 1), keepdims=True)
    model.get_layer("first").set_weights([kernel / 50, np.zeros(6)])
    return model


def first_integers(model, kind):
    """The int8 weights of the first convolution, (outputs, inputs, taps)."""
    if kind == "tflite":
        graph, parts = read_tflite(model), EditableModel(model)
        first = next(one for one in graph.operators if one.name == "CONV_2D")
        shape = graph.tensors[first.inputs[1]].shape
        data = parts.constant(first.inputs[1]).view(np.int8).reshape(shape)
        return data.reshape(shape[0], -1, shape[3]).transpose(0, 2, 1).astype(int)
    graph = onnx.load_from_string(model).graph
    tensors = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    weights = [one for one in tensors.values() if one.dtype == np.int8 and one.ndim > 3]
    return weights[0].reshape(*weights[0].shape[:2], -1).astype(int)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_int8_kernels_of_differences_still_sum_to_zero(kind, channels):
    model = difference_network(channels)
    images = noise(20, 12, channels)
    if kind == "tflite":
        exact = tflite.to_tflite(model)
        int8 = quantize(exact, measure_ranges(tflite_reader(exact), images).clipped)
    else:
        exact = onnx_model.to_onnx(model)
        ranges = measure_ranges(onnx_reader(exact), images).clipped
        int8 = onnx_model.quantize(exact, ranges)
    integers = first_integers(int8, kind)
    assert integers.shape == (6, channels, 9)
    assert (integers.sum(axis=2) == 0).all()
    assert (np.abs(integers).max(axis=(1, 2)) == 127).all()


def test_first_convolution_that_stays_in_float_is_not_rounded():
    exact = tflite.to_tflite(difference_network(1))
    images = noise(20, 12)
    first = read_tflite(exact).operators[0]
    name = EditableModel(exact).names()[first.outputs[0]]
    ranges = measure_ranges(tflite_reader(exact), images).clipped
    mixed = quantize(exact, ranges, in_float=[name])
    kept = read_tflite(mixed)
    operator = next(one for one in kept.operators if one.name == "CONV_2D")
    weights = EditableModel(mixed).floats(operator.inputs[1])
    assert np.array_equal(weights, EditableModel(exact).floats(first.inputs[1]))


def network_with_dead_channels():
    """Half of the channels answer what they add: their weights are nearly 0."""
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(6, 3, name="first", activation="relu"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.Conv2D(6, 1, name="pointwise", activation="relu"),
            layers.Flatten(),
            layers.Dense(3, name="last"),
        ]
    )
    generator = np.random.default_rng(5)
    for name in ("first", "depthwise", "pointwise"):
        kernel, bias = model.get_layer(name).get_weights()
        kernel[...] = generator.uniform(-1, 1, kernel.shape)
        channels = kernel.reshape(-1, len(bias))  # the last dimensions
        channels[:, ::2] *= 1e-12
        bias[:] = generator.uniform(0.5, 1, bias.shape)
        model.get_layer(name).set_weights([kernel, bias])
    return model


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_dead_channels_answer_what_they_add(kind):
    model, images = network_with_dead_channels(), noise(40, 12)
    if kind == "tflite":
        exact = tflite.to_tflite(model)
        int8 = quantize(exact, measure_ranges(tflite_reader(exact), images).clipped)
    else:
        exact = onnx_model.to_onnx(model)
        ranges = measure_ranges(onnx_reader(exact), images).clipped
        int8 = onnx_model.quantize(exact, ranges)
    logits = ConvertedModel(f"{kind}-float32", exact).logits(images)
    rounded = ConvertedModel(f"{kind}-int8", int8).logits(images)
    assert np.abs(rounded - logits).max() < 0.05 * np.ptp(logits)
    assert len(int8) < len(exact)
