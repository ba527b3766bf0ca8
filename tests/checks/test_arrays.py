from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from helpers import DTYPES, assert_same_bits, normal, padded

import fastmlp as fm
from fastmlp import checks

F4, F8 = map(np.dtype, DTYPES)


class Sparse:
    """As scipy.sparse's arrays and matrices look from outside."""

    def toarray(self):
        return np.ones((2, 2))

    def tocsr(self):
        return self


class Tensor:
    """As torch's tensors that require grad look from outside."""

    def __init__(self, requires_grad):
        self.requires_grad = requires_grad

    def detach(self):
        return Tensor(False)

    def numpy(self):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.\nUse tensor.detach().numpy() instead.")
        return np.ones((2, 2))

    def __array__(self, dtype=None, copy=None):
        return self.numpy()


class Elsewhere:
    """As an array in another device's memory."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert cuda:0 device type tensor to numpy.\nUse Tensor.cpu()")


class NAType:
    """As pandas.NA looks from outside."""

    def __repr__(self):
        return "<NA>"


class Wrong(fm.Module):
    """A module of a user's."""


def layouts(array):
    """The same numbers in other places."""
    wide = np.zeros((2 * array.shape[0], 3 * array.shape[1]), array.dtype)
    wide[::2, ::3] = array
    read_only = array.copy()
    read_only.flags.writeable = False
    raw = np.zeros(array.nbytes + 1, np.uint8)
    shifted = raw[1:].view(array.dtype).reshape(array.shape)
    shifted[:] = array
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        matrix = array.view(np.matrix)
    return {
        "plain": array,
        "list": array.tolist(),
        "list of arrays": list(array),
        "tuple of lists": tuple(array.tolist()),
        "list of scalars": [list(row) for row in array],
        "memoryview": memoryview(array),
        "fortran": np.asfortranarray(array),
        "strided": wide[::2, ::3],
        "reversed": array[::-1, ::-1].copy()[::-1, ::-1],
        "read only": read_only,
        "big endian": array.astype(array.dtype.newbyteorder(">")),
        "misaligned": shifted,
        "matrix": matrix,
        "subclass": array.view(type("Mine", (np.ndarray,), {})),
        "nothing masked": np.ma.masked_array(array),
        "a mask of zeros": np.ma.masked_array(array, mask=np.zeros(array.shape)),
        "list of masked arrays": [np.ma.masked_array(row, mask=False) for row in array],
    }


def test_rows_keeps_the_numbers_of_any_layout(dtype, rng):
    array = normal(rng, (7, 5), dtype)
    for name, given in layouts(array).items():
        for taken in (
            checks.as_rows(given, 5, dtype, "fit"),
            checks.as_targets(given, 5, dtype),
            checks.as_delta(given, (7, 5), dtype, "fit"),
            *([checks.as_returned(given, 7, dtype, "Wrong", "forward")] if name != "tuple of lists" else []),
        ):
            assert_same_bits(taken, array)
            assert type(taken) is np.ndarray
            assert taken.flags.carray
            assert taken.dtype.isnative
        assert_same_bits(checks.as_like(given, array, "w"), array)


def test_rows_does_not_copy_what_fits(dtype, rng):
    array = normal(rng, (7, 5), dtype)
    for writeable in (True, False):
        array.flags.writeable = writeable
        for taken in (
            checks.as_rows(array, 5, dtype, "fit"),
            checks.as_delta(array, (7, 5), dtype, "fit"),
            checks.as_returned(array, (7, 5), dtype, "Wrong", "backward"),
        ):
            assert taken.ctypes.data == array.ctypes.data
            assert (taken is array) == writeable
        assert array.flags.writeable == writeable


def test_matrix_converts_real_numbers():
    for given in (np.float16, np.int8, np.uint64, np.bool_, np.float64, np.float32, np.longdouble):
        values = np.array([[0, 1], [1, 0]], given)
        for dtype in (F4, F8):
            assert_same_bits(checks.as_matrix(values, 2, dtype, "fit"), np.array([[0, 1], [1, 0]], dtype))


def test_matrix_rejects_what_is_not_real_numbers(message_of):
    accepted = ": an array is accepted, and lists of numbers"
    missing = ", a missing value: fill it in, or leave its row out"
    objects = "Python objects (dtype object)"
    for values, came in (
        (None, f"None{accepted}"),
        ("X.csv", f"a str{accepted}"),
        ({"a": 1}, f"a dict{accepted}"),
        (object(), f"an object{accepted}"),
        ((row for row in [[1, 2]]), "a generator: make a list of it first, list(...)"),
        ({1, 2}, "a set: make a list of it first, list(...)"),
        (map(list, [[1, 2]]), "a map: make a list of it first, list(...)"),
        ([[1, None]], f"{objects}: row 0, column 1 is None{missing}"),
        (np.array([[1, 2], [NAType(), 3]]), f"{objects}: row 1, column 0 is <NA>{missing}"),
        (np.array([[1, "two"]], object), f"{objects}: row 0, column 1 is 'two'"),
        (np.array([[1, {}]], object), f"{objects}: row 0, column 1 is a dict"),
        (np.array([[1, 1j]], object), f"{objects}: row 0, column 1 is 1j"),
        ([["1", "two"]], "text (dtype <U3): row 0, column 1 is 'two'"),
        ([[1j, 2]], "complex numbers (dtype complex128): take the real parts, np.asarray(x).real"),
        (
            np.zeros((1, 2), "M8[s]"),
            "dates (dtype datetime64[s]): count in seconds, (x - np.datetime64(0, 's')) / np.timedelta64(1, 's')",
        ),
        (np.zeros((1, 2), "m8[s]"), "lengths of time (dtype timedelta64[s]): count in seconds, x / np.timedelta64(1, 's')"),
        (
            np.zeros((1, 2), [("a", "<i8")]),
            "records (dtype [('a', '<i8')]): numpy.lib.recfunctions.structured_to_unstructured makes columns of the fields",
        ),
    ):
        text = message_of(TypeError, checks.as_matrix, values, 2, F4, "fit")
        assert text == f"x must hold real numbers; got {came}"
    # In a name that is a sentence, and for what a user's module returns.
    assert message_of(TypeError, checks.as_like, 1j, np.zeros(()), "grad of 0.weight") == (
        "grad of 0.weight must hold real numbers; got complex numbers (dtype complex128): "
        "take the real parts, np.asarray(values).real"
    )


def test_code_in_messages_converts(message_of):
    """The proposed code, run, is accepted."""
    tensor = Tensor(True)
    for values, ends, kind in (
        (np.array([[1, 2]], object), "got Python objects (dtype object): convert it, X.astype(float)", TypeError),
        ([["1", "2"]], "got text (dtype <U1): convert it, np.asarray(X).astype(float)", TypeError),
        ([[b"1", b"2"]], "got bytes (dtype |S1): convert it, np.asarray(X).astype(float)", TypeError),
        ([[2**70, 1]], "got Python objects (dtype object): convert it, np.asarray(X).astype(float)", TypeError),
        (np.zeros((1, 2), "M8[s]"), "count in seconds, (X - np.datetime64(0, 's')) / np.timedelta64(1, 's')", TypeError),
        ([np.zeros(2, "m8[D]")], "count in seconds, np.asarray(X) / np.timedelta64(1, 's')", TypeError),
        (np.array([[1j, 2]]), "got complex numbers (dtype complex128): take the real parts, X.real", TypeError),
        (Sparse(), "must be a dense array; got a sparse Sparse: convert it, X.toarray()", TypeError),
        (tensor, "must be an array; got a Tensor that requires grad: detach it, X.detach().numpy()", TypeError),
        ([1, 2], "fit expects (N, 2); got (2,): add a batch axis, np.asarray(X)[None, :]", ValueError),
        (np.ones((2, 3)), "fit expects (N, 2); got (2, 3): transpose it, X.T", ValueError),
    ):
        text = message_of(kind, checks.as_rows, values, 2, F4, "fit")
        assert text.endswith(ends)
        code = re.split(" (?:it|parts|axis|seconds), ", text)[-1]
        assert checks.as_rows(eval(code, {"X": values, "np": np}), 2, F4, "fit").shape[1] == 2


def test_masked_entries_are_refused(message_of):
    """m16: NumPy drops the mask, and what stands below is taken for data."""
    masked = np.ma.masked_array([[0.1, 0.2], [0.3, -9999.0]], mask=[[0, 0], [0, 1]])
    for call, name in (
        (lambda v: checks.as_rows(v, 2, F4, "predict"), "X"),
        (lambda v: checks.as_matrix(v, 2, F8, "Linear"), "x"),
        (lambda v: checks.as_targets(v, 2, F8), "y"),
        (lambda v: checks.as_labels(v, 2), "y"),
        (lambda v: checks.as_delta(v, (2, 2), F8, "Linear"), "dy"),
        (lambda v: checks.as_like(v, np.zeros((2, 2)), "data"), "data"),
    ):
        text = message_of(ValueError, call, masked)
        start = f"{name} has masked entries, the first in row 1, column 1"
        assert text == f"{start}: fill them in, {name}.filled(value), or leave such rows out"
    assert checks.as_rows(masked.filled(0.0), 2, F4, "predict")[1, 1] == 0
    for values, name, place in (
        (np.ma.masked_array([1, 2, 3], mask=[0, 0, 1]), "y", ", the first in row 2"),
        (np.ma.masked, "y", ""),
        ([1, np.ma.masked], "row 1 of y", ""),
    ):
        text = message_of(ValueError, checks.as_labels, values, 4)
        word = "y" if name == "y" else "values"
        assert text == f"{name} has masked entries{place}: fill them in, {word}.filled(value), or leave such rows out"
    text = message_of(ValueError, checks.as_rows, [masked[0], masked[1]], 2, F4, "predict")
    assert text.startswith("row 1 of X has masked entries, the first in row 1: ")
    text = message_of(ValueError, checks.as_rows, [[0.1, 0.2], [0.3, np.ma.masked]], 2, F4, "predict")
    assert text.startswith("row 1 of row 1 of X has masked entries: ")
    text = message_of(ValueError, checks.as_returned, masked, 2, F4, Wrong(), "forward")
    assert text.startswith("what Wrong.forward returns has masked entries, the first in row 1, column 1: ")


def test_what_numpy_cannot_convert_is_named(message_of):
    for values, text in (
        (Elsewhere(), "NumPy cannot convert this Elsewhere: can't convert cuda:0 device type tensor to numpy."),
        ([Elsewhere()], "NumPy cannot convert this list: can't convert cuda:0 device type tensor to numpy."),
    ):
        assert message_of(TypeError, checks.as_rows, values, 2, F4, "fit") == f"X must be an array of numbers; {text}"
    text = message_of(TypeError, checks.as_rows, [Sparse()], 2, F4, "fit")
    assert text == "row 0 of X must be a dense array; got a sparse Sparse: convert it, values.toarray()"
    text = message_of(ValueError, checks.as_matrix, [[1, 2], [3, 4], [5]], 2, F4, "fit")
    assert text == "x must be an array; its rows have different lengths: row 0 has 2, row 2 has 1"
    endless: list = []
    endless.append(endless)
    assert message_of(TypeError, checks.as_rows, endless, 2, F4, "fit").startswith(
        "X must be an array of numbers; NumPy cannot"
    )
    assert checks.as_rows(Tensor(False), 2, F4, "fit").tolist() == [[1, 1], [1, 1]]


def test_matrix_rejects_other_shapes(message_of):
    for shape, text in (
        ((3,), "fit expects (N, 3); got (3,): add a batch axis, x[None, :]"),
        ((4,), "fit expects (N, 3); got (4,)"),
        ((5, 4), "fit expects (N, 3); got (5, 4)"),
        ((3, 5), "fit expects (N, 3); got (3, 5): transpose it, x.T"),
        ((2, 3, 1), "fit expects (N, 3); got (2, 3, 1): flatten all axes but the first, x.reshape(len(x), -1)"),
        ((), "fit expects (N, 3); got ()"),
        ((0, 3), "fit expects at least one row and one column; x is empty, (0, 3)"),
    ):
        assert message_of(ValueError, checks.as_matrix, np.zeros(shape), 3, F4, "fit") == text
    text = message_of(ValueError, checks.as_matrix, np.zeros(5), 1, F4, "fit")
    assert text == "fit expects (N, 1); got (5,): add a feature axis, x[:, None]"
    text = message_of(ValueError, checks.as_matrix, np.zeros((3, 0)), None, F4, "fit")
    assert text == "fit expects at least one row and one column; x is empty, (3, 0)"
    text = message_of(ValueError, checks.as_rows, np.zeros(2), 3, F4, fm.Sequential(fm.Linear(3, 2)), "validation X")
    assert text == "Sequential expects validation X of shape (N, 3); got (2,)"


def test_outputs_of_one_axis_are_a_column_where_the_caller_says_so(message_of):
    """Two arrays (N,) for a loss: one output of N rows, not N outputs of one row."""
    for column, hint in (
        (True, "add a feature axis, out[:, None]"),
        (False, "add a batch axis, out[None, :]"),
        (None, "add a batch axis, out[None, :], for one row, or add a feature axis, out[:, None], for one column"),
    ):
        text = message_of(ValueError, checks.as_rows, np.zeros(5), None, F4, "MSELoss", "out", column=column)
        assert text == f"MSELoss expects out of shape (N, width); got (5,): {hint}"


def test_rows_rejects_what_is_not_finite_where_asked(dtype, message_of):
    rest = f"(numbers beyond the range of {dtype} count as infinite; check_finite=False turns this check off)"
    for wrong in (np.nan, np.inf, -np.inf):
        array = np.zeros((50, 3), dtype)
        array[41, 2] = wrong
        text = message_of(ValueError, checks.as_rows, array, 3, dtype, "fit", finite=True)
        assert text == f"X must be finite; row 41 holds {wrong} {rest}"
        assert_same_bits(checks.as_rows(array, 3, dtype, "fit"), array)
    wide = np.array([["1e300"], ["-1e4000"]]).astype(np.longdouble)
    text = message_of(ValueError, checks.as_rows, wide, 1, F4, "fit", finite=True)
    assert text.startswith("X must be finite; row 0 holds inf (numbers beyond the range of float32 count as infinite")


@pytest.mark.parametrize("state", ["raise", "warn"])
def test_conversions_do_not_raise_whatever_seterr_says(state, message_of):
    """m17: a warning is an error here; the right values are those of a cast with all signals ignored."""
    odd = [1e-45, 1e-320, 1e300, -1e300, np.nan, np.inf, 1 / 3]
    with np.errstate(all="ignore"):
        expected = np.array(odd, F8).astype(F4)[None, :]
    with np.errstate(all=state):
        for given in ([odd], np.array([odd]), np.array([odd], np.longdouble), [np.array(odd)]):
            assert_same_bits(checks.as_rows(given, 7, F4, "fit"), expected)
            assert_same_bits(checks.as_targets(given, 7, F4), expected)
            assert_same_bits(checks.as_delta(given, (1, 7), F4, "fit"), expected)
            assert_same_bits(checks.as_returned(given, 1, F4, "Wrong", "forward"), expected)
            assert_same_bits(checks.as_like(given, expected, "w"), expected)
            message_of(ValueError, checks.as_rows, given, 7, F4, "fit", finite=True)
            message_of(ValueError, checks.as_targets, given, 7, F4, finite=True)
        for labels in (odd, [1e300, 0], [np.nan, 0], [-np.inf, 0]):
            message_of(ValueError, checks.as_labels, labels, 3)
            message_of(ValueError, checks.as_targets, labels, 3, F4)
        assert checks.as_labels(np.array([0, 2], np.float16), 3).tolist() == [0, 2]


def test_pad_adds_zeros(dtype, rng):
    for width in (1, 15, 16, 17, 300):
        array = normal(rng, (3, width), dtype)
        result = checks.as_padded(array)
        assert_same_bits(result[:, :width], array)
        assert not result[:, width:].any()
        assert result.shape[1] * dtype.itemsize % 64 == 0
        assert width > 200 or result.shape == padded(array).shape


def test_delta_has_the_shape_of_the_last_output(message_of):
    for values, shape, came in (
        (np.zeros((8, 2)), (9, 2), "(8, 2)"),
        (np.zeros((9, 3)), (9, 2), "(9, 3)"),
        (np.zeros((2, 9)), (9, 2), "(2, 9): transpose it, dy.T"),
        (np.zeros(9), (9, 1), "(9,): dy.reshape(9, 1)"),
        ([0.0, 0.0], (1, 2), "(2,): np.asarray(dy).reshape(1, 2)"),
        (0.7, (9, 2), "(): not the loss, but its gradient, criterion.backward()"),
    ):
        text = message_of(ValueError, checks.as_delta, values, shape, F4, fm.Linear(3, 2))
        assert text == f"backward of Linear(3, 2) expects the shape of the last output, {shape}; got {came}"
    text = message_of(TypeError, checks.as_delta, None, (9, 2), F4, fm.Linear(3, 2))
    assert text == "dy must hold real numbers; got None: an array is accepted, and lists of numbers"


def test_like_rejects_another_shape(message_of):
    view = np.zeros((2, 3), F4)
    text = message_of(ValueError, checks.as_like, np.zeros((3, 2)), view, "data of 0.weight")
    assert text == "data of 0.weight must have the shape (2, 3); got (3, 2): transpose it, values.T"
    text = message_of(ValueError, checks.as_like, np.zeros(6), view, "w")
    assert text == "w must have the shape (2, 3); got (6,)"


def test_returned_is_converted(rng):
    array = normal(rng, (4, 3), F8)
    for values, expected in (
        (array, array.astype(F4)),
        (array > 0, (array > 0).astype(F4)),
        (array.astype(np.float16), array.astype(np.float16).astype(F4)),
        (array.tolist(), array.astype(F4)),
    ):
        for shape in (4, (4, None), (4, 3)):
            assert_same_bits(checks.as_returned(values, shape, F4, Wrong(), "forward"), expected)


def test_returned_rejects_others(message_of):
    """m02, m11: kernels read foreign memory where a user's module returned too little."""
    imaginary = "complex numbers (dtype complex128)"
    last = "Wrong.backward must return (8, 300), the shape of the last input; got "
    for error, values, shape, method, text in (
        (ValueError, np.ones((8, 20)), (8, 300), "backward", f"{last}(8, 20)"),
        (ValueError, np.ones((8, 20), F4), (8, 300), "backward", f"{last}(8, 20)"),
        (ValueError, np.ones((9, 300), F4), (8, 300), "backward", f"{last}(9, 300)"),
        (ValueError, np.ones((300,), F4), (8, 300), "backward", f"{last}(300,)"),
        (TypeError, None, (8, 300), "backward", f"{last}None: a return statement is missing"),
        (TypeError, (1, 2), (8, 300), "backward", f"{last}a tuple of 2, not one array"),
        (ValueError, np.ones((8, 300, 1)), 8, "backward", "Wrong.backward must return (8, I); got (8, 300, 1)"),
        (ValueError, np.ones((8, 0), F4), 8, "forward", "Wrong.forward must return (8, O); got (8, 0)"),
        (ValueError, np.ones((8, 0)), 8, "forward", "Wrong.forward must return (8, O); got (8, 0)"),
        (ValueError, 1.0, 8, "forward", "Wrong.forward must return (8, O); got ()"),
        (ValueError, np.ones((8, 2)), (8, 3), "forward", "Wrong.forward must return (8, 3); got (8, 2)"),
        (
            TypeError,
            np.ones((8, 3)) * 1j,
            8,
            "forward",
            f"what Wrong.forward returns must hold real numbers; got {imaginary}: take the real parts, values.real",
        ),
    ):
        assert message_of(error, checks.as_returned, values, shape, F4, Wrong(), method) == text


def test_output_is_the_callers_own_memory(tmp_path):
    out = np.empty((3, 2), F4)
    assert checks.as_output(out, (3, 2), F4) is out
    mapped = np.memmap(tmp_path / "out", F4, "w+", shape=(3, 2))
    taken = checks.as_output(mapped, (3, 2), F4)
    assert type(taken) is np.ndarray
    assert taken.ctypes.data == mapped.ctypes.data


def test_output_rejects_others(message_of):
    read_only = np.empty((3, 2), F4)
    read_only.flags.writeable = False
    state = ", not C-contiguous, aligned and writable"
    for out, error, text in (
        ([[0.0] * 2] * 3, TypeError, "out must be an array of float32; got list"),
        (np.empty((3, 2)), TypeError, "out must be an array of float32; got float64"),
        (np.empty((3, 2), ">f4"), TypeError, "out must be an array of float32; got >f4"),
        (
            np.ma.zeros((3, 2), F4),
            TypeError,
            "out must be an array of float32, not masked: pass out.data, or np.ma.getdata(out)",
        ),
        (np.empty((3, 4), F4), ValueError, "(3, 4)"),
        (np.empty((2, 3), F4).T, ValueError, f"(3, 2){state}"),
        (read_only, ValueError, f"(3, 2){state}"),
    ):
        rule = "out must have the shape (3, 2) and be C-contiguous and writable; got " if error is ValueError else ""
        assert message_of(error, checks.as_output, out, (3, 2), F4) == rule + text


def test_output_that_overlaps_is_written_elsewhere():
    """m08: rows of the input must not be overwritten while they are still read. The oracle is NumPy's exact answer."""
    memory = np.arange(24, dtype=F4)
    x = memory[:12].reshape(6, 2)
    for out, apart in (
        (x, False),
        (memory.reshape(6, 4), False),
        (memory[11:23].reshape(6, 2), False),
        (memory[12:].reshape(6, 2), True),
        (np.empty((6, 2), F4), True),
    ):
        taken = checks.as_output(out, out.shape, F4, apart_from=x)
        assert (taken is out) == apart
        assert checks.overlaps(out, x) == np.shares_memory(out, x) != apart
        assert not np.shares_memory(taken, x)
        assert taken.shape == out.shape
        assert taken.flags.carray


def test_lengths_are_the_same(message_of):
    checks.check_same_length(3, 3, "X", "y")
    text = message_of(ValueError, checks.check_same_length, 3, 4, "X", "y")
    assert text == "X and y must have as many rows as each other; got 3 and 4"
