from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import assert_same_bits, normal, padded

from fastmlp import checks


@pytest.mark.parametrize("given", [np.float32, "float32", "f4", ">f4", np.dtype("<f4")])
def test_float_dtype_is_native(given):
    assert checks.as_float_dtype(given) == np.float32
    assert checks.as_float_dtype(given).isnative


@pytest.mark.parametrize("given", [np.float16, np.int64, complex, object, "no such dtype", np.longdouble])
def test_float_dtype_rejects_others(given):
    with pytest.raises(TypeError, match="dtype must be float32 or float64; got"):
        checks.as_float_dtype(given)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.ones(2, np.float64), "f8"),
        (np.ones(2, ">f8"), "f8"),
        (np.ones(2, ">f4"), "f4"),
        (np.ones(2, int), "f4"),
        (np.ones(2, np.float16), "f4"),
        ([1.0], "f4"),
        (np.float64(1), "f8"),
    ],
)
def test_float_dtype_of_is_that_of_the_input(values, expected):
    assert checks.as_float_dtype_of(values) == np.dtype(expected)
    assert checks.as_float_dtype_of(values).isnative


@pytest.mark.parametrize("value", [1, np.int8(1), np.uint64(1), np.array(1)])
def test_size_accepts_whole_numbers(value):
    assert checks.as_size(value, "n") == 1
    assert type(checks.as_size(value, "n")) is int


@pytest.mark.parametrize("value", [1.0, "1", None, True, np.True_, [1], 1j, np.array([1, 2])])
def test_size_rejects_what_is_not_a_whole_number(value):
    with pytest.raises(TypeError, match="n must be a whole number; got"):
        checks.as_size(value, "n")


@pytest.mark.parametrize(
    ("value", "message"), [(0, "at least 1; got 0"), (-3, "at least 1; got -3"), (2**63, "at most 2"), (10**30, "at most 2")]
)
def test_size_rejects_what_is_out_of_range(value, message):
    with pytest.raises(ValueError, match=f"n must be {message}"):
        checks.as_size(value, "n")


def test_size_of_zero_where_that_is_allowed():
    assert checks.as_size(0, "n", least=0) == 0


@pytest.mark.parametrize("value", [0, 0.5, np.float32(0.5), np.array(0.5), 10**300])
def test_number_accepts_numbers(value):
    assert checks.as_number(value, "lr") == float(value)


@pytest.mark.parametrize("value", ["0.1", None, 1j, [0.1, 0.2], True, b"1"])
def test_number_rejects_what_is_not_a_number(value):
    with pytest.raises(TypeError, match="lr must be a number; got"):
        checks.as_number(value, "lr")


@pytest.mark.parametrize("value", [-1e-9, math.nan, math.inf, -math.inf, 10**400])
def test_number_rejects_what_is_out_of_range(value):
    with pytest.raises(ValueError, match="lr must be at least 0 and finite; got"):
        checks.as_number(value, "lr")
    with pytest.raises(ValueError, match="m must be at least 0 and below 1 and finite; got 1"):
        checks.as_number(1, "m", below=1)


def test_random_generator_takes_what_spec_7_says():
    generator = np.random.default_rng(3)
    assert checks.as_generator(generator) is generator
    assert checks.as_generator(3).random() == np.random.default_rng(3).random()
    assert checks.as_generator(None).random() != checks.as_generator(None).random()


@pytest.mark.parametrize("value", ["seed", -1, 1.5])
def test_random_generator_rejects_others(value):
    with pytest.raises(TypeError, match="rng must be None, an int of at least 0, or a numpy"):
        checks.as_generator(value)


def layouts(array):
    """The same numbers in other places."""
    wide = np.zeros((2 * array.shape[0], 3 * array.shape[1]), array.dtype)
    wide[::2, ::3] = array
    read_only = array.copy()
    read_only.flags.writeable = False
    raw = np.zeros(array.nbytes + 1, np.uint8)
    shifted = raw[1:].view(array.dtype).reshape(array.shape)
    shifted[:] = array
    return {
        "plain": array,
        "list": array.tolist(),
        "fortran": np.asfortranarray(array),
        "strided": wide[::2, ::3],
        "reversed": array[::-1, ::-1].copy()[::-1, ::-1],
        "read_only": read_only,
        "big_endian": array.astype(array.dtype.newbyteorder(">")),
        "misaligned": shifted,
        "subclass": array.view(np.matrix) if array.shape[0] > 1 else array,
    }


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("name", layouts(np.ones((2, 2))))
def test_rows_keeps_the_numbers_of_any_layout(name, dtype, rng):
    array = normal(rng, (7, 5), dtype)
    taken = checks.as_rows(layouts(array)[name], 5, dtype, "fit")
    assert_same_bits(taken, array)
    assert type(taken) is np.ndarray
    assert taken.flags.c_contiguous
    assert taken.flags.aligned
    assert taken.flags.writeable
    assert taken.dtype.isnative


@pytest.mark.parametrize("writeable", [True, False])
def test_rows_does_not_copy_what_fits(writeable, dtype, rng):
    array = normal(rng, (7, 5), dtype)
    array.flags.writeable = writeable
    taken = checks.as_rows(array, 5, dtype, "fit")
    assert taken.ctypes.data == array.ctypes.data
    assert array.flags.writeable == writeable


@pytest.mark.parametrize("given", [np.float16, np.int8, np.uint64, np.bool_, np.float64, np.float32, np.longdouble])
def test_matrix_converts_real_numbers(given, dtype):
    values = np.array([[0, 1], [1, 0]], given)
    assert_same_bits(checks.as_matrix(values, 2, dtype, "fit"), np.array([[0, 1], [1, 0]], dtype))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.array([[1, None]]), "Python objects"),
        ([["1", "2"]], "text"),
        ([[b"1", b"2"]], "bytes"),
        ([[1j, 2]], "complex numbers"),
        (np.zeros((1, 2), "M8[s]"), "datetime64"),
        (np.zeros((1, 2), [("a", int)]), "V|a"),
    ],
)
def test_matrix_rejects_what_is_not_real_numbers(values, kind, dtype):
    with pytest.raises(TypeError, match=rf"x must hold real numbers; got .*({kind})"):
        checks.as_matrix(values, 2, dtype, "fit")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3,), r"fit expects \(N, 3\); got \(3,\): add a batch axis, x\[None, :\]"),
        ((4,), r"fit expects \(N, 3\); got \(4,\)$"),
        ((5, 4), r"fit expects \(N, 3\); got \(5, 4\)$"),
        ((3, 5), r"fit expects \(N, 3\); got \(3, 5\): transpose it, x.T"),
        ((2, 3, 1), r"fit expects \(N, 3\); got \(2, 3, 1\): flatten all axes but the first"),
        ((), r"fit expects \(N, 3\); got \(\)$"),
        ((0, 3), r"fit expects at least one row and one column; x is empty, \(0, 3\)"),
    ],
)
def test_matrix_rejects_other_shapes(shape, message, dtype):
    with pytest.raises(ValueError, match=message):
        checks.as_matrix(np.zeros(shape, dtype), 3, dtype, "fit")


def test_matrix_says_how_to_add_a_feature_axis(dtype):
    with pytest.raises(ValueError, match=r"got \(5,\): add a feature axis, x\[:, None\]"):
        checks.as_matrix(np.zeros(5), 1, dtype, "fit")


def test_matrix_rejects_rows_of_different_lengths(dtype):
    with pytest.raises(ValueError, match="x must be an array; its rows have different lengths"):
        checks.as_matrix([[1, 2], [3]], 2, dtype, "fit")


def test_matrix_of_any_width_rejects_no_columns(dtype):
    with pytest.raises(ValueError, match="at least one row and one column"):
        checks.as_matrix(np.zeros((3, 0)), None, dtype, "fit")


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_rows_rejects_what_is_not_finite_where_asked(wrong, dtype):
    array = np.zeros((50, 3), dtype)
    array[41, 2] = wrong
    with pytest.raises(ValueError, match=rf"X must be finite; row 41 holds {wrong}.*check_finite=False turns this check off"):
        checks.as_rows(array, 3, dtype, "fit", finite=True)
    assert_same_bits(checks.as_rows(array, 3, dtype, "fit"), array)


def test_rows_rejects_numbers_too_large_for_the_dtype():
    with pytest.raises(ValueError, match="numbers beyond the range of float32 count as infinite"):
        checks.as_rows(np.array([[1e300]]), 1, np.dtype(np.float32), "fit", finite=True)


@pytest.mark.parametrize("width", [1, 15, 16, 17, 300])
def test_pad_adds_zeros(width, dtype, rng):
    array = normal(rng, (3, width), dtype)
    result = checks.as_padded(array)
    assert_same_bits(result[:, :width], array)
    assert not result[:, width:].any()
    assert result.shape[1] * dtype.itemsize % 64 == 0
    assert width > 200 or result.shape == padded(array).shape


@pytest.mark.parametrize("given", [np.int64, np.int8, np.uint8, np.uint64, np.float32, ">i4", np.bool_, list])
def test_labels_are_converted(given):
    values = [0, 1, 1, 0] if given is list else np.array([0, 1, 1, 0], given)
    taken = checks.as_labels(values, 3, 4)
    assert taken.tolist() == [0, 1, 1, 0]
    assert taken.dtype == np.int64
    assert taken.flags.c_contiguous


def test_labels_of_any_layout():
    values = np.arange(10)[::-2] % 3
    values.flags.writeable = False
    taken = checks.as_labels(values, 3)
    assert taken.tolist() == values.tolist()
    assert taken.flags.writeable


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, -1], r"whole numbers from 0 to 2 .*y\[1\] is -1"),
        ([0, 3, 9], r"\(the model has 3 outputs\); y\[1\] is 3"),
        ([0, 1.5], r"whole numbers from 0 to 2; y\[1\] is 1.5"),
        ([np.nan, 0], r"y\[0\] is nan"),
        ([0, np.inf], r"y\[1\] is inf"),
        ([0.0, 3.0], r"y\[1\] is 3"),
        (np.array([1, 2**64 - 1], np.uint64), rf"y\[1\] is {2**64 - 1}"),
        (np.array([1, 2**63], np.uint64), rf"y\[1\] is {2**63}"),
        ([0, -(2**63)], r"y\[1\] is -9223372036854775808"),
        ([[0], [1]], r"one label a row; got \(2, 1\): drop the second axis, y\[:, 0\]"),
        ([[0, 1], [1, 0]], r"one label a row; got \(2, 2\): one label a row, not one-hot"),
        (0, r"one label a row; got \(\)"),
    ],
)
def test_labels_rejects_wrong_values(values, message):
    with pytest.raises(ValueError, match=message):
        checks.as_labels(values, 3)


@pytest.mark.parametrize("values", [["a", "b"], [None, 1], [1j, 0], [2**70, 1]])
def test_labels_rejects_what_is_not_numbers(values):
    with pytest.raises(TypeError, match="y must hold labels, whole numbers from 0 to 2; got dtype"):
        checks.as_labels(values, 3)


def test_labels_rejects_another_length():
    with pytest.raises(ValueError, match="X and y must have as many rows as each other; got 4 and 3"):
        checks.as_labels([0, 1, 2], 3, 4)


def test_targets_adds_an_axis_for_one_output(dtype):
    assert_same_bits(checks.as_targets([1, 2, 3], 1, dtype, 3), np.array([[1], [2], [3]], dtype))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(4), r"shape of the outputs, \(N, 2\); got \(4,\): one-hot labels are np.eye\(classes\)\[y\]"),
        (np.zeros((4, 1)), r"shape of the outputs, \(N, 2\); got \(4, 1\)"),
        (np.zeros((3, 2)), "as many rows as each other; got 4 and 3"),
    ],
)
def test_targets_rejects_other_shapes(values, message, dtype):
    with pytest.raises(ValueError, match=message):
        checks.as_targets(values, 2, dtype, 4)


def test_targets_rejects_what_is_not_finite_where_asked(dtype):
    values = np.zeros((9, 2), dtype)
    values[7, 1] = np.nan
    with pytest.raises(ValueError, match="y must be finite; row 7 is not"):
        checks.as_targets(values, 2, dtype, finite=True)
    assert_same_bits(checks.as_targets(values, 2, dtype), values)


def test_like_rejects_another_shape(dtype):
    with pytest.raises(ValueError, match=r"w must have the shape \(2, 3\); got \(3, 2\)"):
        checks.as_like(np.zeros((3, 2)), np.zeros((2, 3), dtype), "w")
