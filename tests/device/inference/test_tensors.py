"""Between real numbers and integers: half a step at most, and no wrap-around."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge_runtime.errors import ModelError
from edge_runtime.inference.tensors import (
    Quantization,
    TensorInfo,
    dequantize,
    input_table,
    quantize,
)

DTYPES = {"int8": np.int8, "uint8": np.uint8, "int16": np.int16}
dtypes = st.sampled_from(list(DTYPES.values())).map(np.dtype)


@st.composite
def quantizations(draw, dtype):
    limits = np.iinfo(dtype)
    zero_point = draw(st.integers(int(limits.min), int(limits.max)))
    return Quantization(draw(st.floats(1e-4, 100.0)), zero_point)


@st.composite
def values_in_range(draw):
    """Real values that the integers of a tensor can stand for, and the tensor's."""
    dtype = draw(dtypes)
    quantization = draw(quantizations(dtype))
    low, high = (
        quantization.scale * (int(limit) - quantization.zero_point)
        for limit in (np.iinfo(dtype).min, np.iinfo(dtype).max)
    )
    shape = draw(hnp.array_shapes(max_dims=3, max_side=5))
    shares = draw(hnp.arrays(np.float64, shape, elements=st.floats(0, 1)))
    return low + shares * (high - low), quantization, dtype


@given(values_in_range())
def test_round_trip_is_off_by_half_a_step_at_most(case):
    values, quantization, dtype = case
    integers = quantize(values, quantization, dtype)
    assert integers.dtype == dtype
    error = np.abs(dequantize(integers, quantization) - values)
    # float32 has seven digits; the largest value here has 65,536 steps.
    slack = 1e-6 * np.abs(values).max() + 1e-9
    assert error.max() <= quantization.scale / 2 * (1 + 1e-6) + slack


@given(dtypes.flatmap(lambda d: st.tuples(st.just(d), quantizations(d))))
def test_every_integer_survives_dequantize_and_quantize(case):
    dtype, quantization = case
    limits = np.iinfo(dtype)
    step = 1 if limits.bits == 8 else 97
    integers = np.arange(limits.min, limits.max + 1, step, dtype=np.int64).astype(dtype)
    # In float64: at int16 the last digits of float32 are more than half a step.
    real = quantization.scale * (integers.astype(np.int64) - quantization.zero_point)
    assert np.array_equal(quantize(real, quantization, dtype), integers)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("value", [1e6, 1e30, np.inf], ids=str)
def test_values_beyond_the_range_saturate_at_both_ends(name, value):
    limits = np.iinfo(DTYPES[name])
    given_values = np.array([-value, value])
    integers = quantize(given_values, Quantization(0.1, 3), np.dtype(DTYPES[name]))
    assert integers.tolist() == [limits.min, limits.max]


@pytest.mark.parametrize(
    ("dtype", "integer", "zero_point", "steps"),
    [
        (np.int8, 127, -128, 255),
        (np.int8, -128, 127, -255),
        (np.uint8, 0, 255, -255),
        (np.int16, 32767, -32768, 65535),
    ],
    ids=["int8-high", "int8-low", "uint8", "int16"],
)
def test_dequantize_does_not_wrap_around(dtype, integer, zero_point, steps):
    real = dequantize(np.array([integer], dtype), Quantization(0.5, zero_point))
    assert real.tolist() == [0.5 * steps]


def test_halves_round_to_even_as_the_interpreters_do():
    values = np.array([0.5, 1.5, 2.5, -0.5])
    assert quantize(values, Quantization(1.0, 0), np.dtype(np.int8)).tolist() == [
        0,
        2,
        2,
        0,
    ]


def test_dequantized_values_are_float32():
    assert dequantize(np.zeros(3, np.int8), Quantization(0.1, 5)).dtype == np.float32


@pytest.mark.parametrize(
    ("scale", "quantized"), [(0.0, False), (0.5, True)], ids=["zero", "positive"]
)
def test_a_tensor_without_scale_is_not_quantized(scale, quantized):
    assert bool(Quantization(scale, 0)) is quantized


# --- pixels ------------------------------------------------------------------------


def tensor(dtype, scale, zero_point):
    info = Quantization(scale, zero_point)
    return TensorInfo((1, 48, 48, 1), np.dtype(dtype), info)


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "first"),
    [
        (np.int8, 1.0, -128, -128),
        (np.uint8, 1.0, 0, 0),
        (np.float32, 0.0, 0, 0),
        (np.float16, 0.0, 0, 0),
        (np.uint8, 0.0, 0, 0),
    ],
    ids=["int8", "uint8", "float32", "float16", "plain-uint8"],
)
def test_input_table_is_exact(dtype, scale, zero_point, first):
    table = input_table(tensor(dtype, scale, zero_point))
    assert table.dtype == dtype
    assert table.astype(np.int64).tolist() == list(range(first, first + 256))


def test_input_table_takes_any_scale():
    table = input_table(tensor(np.int8, 2.0, -128))
    # 1 / 2 = 0.5 rounds to even.
    assert table[[0, 1, 2, 255]].tolist() == [-128, -128, -127, 0]


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.bool_], ids=str)
def test_input_of_a_type_that_is_no_image_is_refused(dtype):
    with pytest.raises(ModelError, match="image input"):
        input_table(tensor(dtype, 0.0, 0))
