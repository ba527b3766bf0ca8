from __future__ import annotations

import numpy as np
from helpers import DTYPES, assert_same_bits

from fastmlp import checks

F4, F8 = map(np.dtype, DTYPES)
RULE = "y must hold labels, whole numbers from 0 to 2"


def test_labels_are_converted():
    for given in (np.int64, np.int8, np.uint8, np.uint64, np.float32, np.float16, ">i4", ">f8", np.bool_, list, np.ma.array):
        values = given([0, 1, 1, 0]) if given in (list, np.ma.array) else np.array([0, 1, 1, 0], given)
        taken = checks.as_labels(values, 3, 4)
        assert taken.tolist() == [0, 1, 1, 0]
        assert taken.dtype == np.int64
        assert type(taken) is np.ndarray
        assert taken.flags.carray
    values = np.arange(10)[::-2] % 3
    values.flags.writeable = False
    taken = checks.as_labels(values, 3)
    assert taken.tolist() == values.tolist()
    assert taken.flags.writeable


def test_labels_rejects_wrong_values(message_of):
    model = " (the model has 3 outputs)"
    for values, text in (
        ([0, -1], f"{model}; y[1] is -1"),
        ([0, 3, 9], f"{model}; y[1] is 3"),
        ([0, 1.5], "; y[1] is 1.5"),
        ([np.nan, 0], "; y[0] is nan"),
        ([0, np.inf], "; y[1] is inf"),
        ([0.0, 3.0], "; y[1] is 3.0"),
        (np.array([1, 2**64 - 1], np.uint64), f"{model}; y[1] is {2**64 - 1}"),
        (np.array([1, 2**63], np.uint64), f"{model}; y[1] is {2**63}"),
        ([0, -(2**63)], f"{model}; y[1] is -9223372036854775808"),
    ):
        assert message_of(ValueError, checks.as_labels, values, 3) == RULE + text
    for values in ([0, 1], [0.0, 1.0]):
        text = message_of(ValueError, checks.as_labels, values, 1)
        assert text.startswith("y must hold labels, which are 0 for a single class; y[1] is 1")
        assert text.endswith(": with one output, BCEWithLogitsLoss is for labels 0 and 1")
    text = message_of(ValueError, checks.as_labels, [0, 1, 2], 3, 4)
    assert text == "X and y must have as many rows as each other; got 4 and 3"


def test_labels_rejects_other_shapes(message_of):
    """The proposed code, run, gives the labels."""
    one_hot = np.eye(3, dtype=int)
    for values, rows, hint, code in (
        (np.array([[0], [1]]), 2, ": drop the second axis, ", "y[:, 0]"),
        ([[0], [1]], None, ": drop the second axis, ", "np.asarray(y)[:, 0]"),
        (np.array([[0, 1, 2, 1]]), 4, ": drop the first axis, ", "y[0]"),
        ([[0, 1, 2, 1]], None, ": drop the first axis, ", "np.asarray(y)[0]"),
        (np.ma.array([[0, 1, 2, 1]]), 4, ": drop the first axis, ", "np.asarray(y)[0]"),
        (one_hot, 3, ": one label a row, not one-hot: ", "y.argmax(axis=1)"),
        (one_hot[:1], 1, ": one label a row, not one-hot: ", "y.argmax(axis=1)"),
        (one_hot.tolist(), 3, ": one label a row, not one-hot: ", "np.asarray(y).argmax(axis=1)"),
        (np.array(0), 1, "", ""),
        (np.zeros((2, 2, 2)), 2, "", ""),
    ):
        text = message_of(ValueError, checks.as_labels, values, 3, rows)
        assert text == f"y must have the shape (N,), one label a row; got {np.shape(values)}{hint}{code}"
        assert not code or checks.as_labels(eval(code, {"y": values, "np": np}), 3, rows).ndim == 1


def test_labels_rejects_what_is_not_numbers(message_of):
    unique = "return_inverse=True)[1]"
    for values, came in (
        (["a", "b"], f"text (dtype <U1): number the classes, np.unique(np.asarray(y), {unique}"),
        (np.array(["a", "b"], object), f"text (dtype object): number the classes, np.unique(y, {unique}"),
        (
            [None, 1],
            "Python objects (dtype object): row 0 is None, a missing value: fill it in, or leave its row out",
        ),
        ([1j, 0], "complex numbers (dtype complex128): take the real parts, np.asarray(y).real"),
        ([2**70, 1], "Python objects (dtype object): convert it, np.asarray(y).astype(float)"),
        (None, "None: an array is accepted, and lists of numbers"),
        (iter([0, 1]), "a list_iterator: make a list of it first, list(...)"),
        ("ab", "a str: an array is accepted, and lists of numbers"),
    ):
        text = message_of(TypeError, checks.as_labels, values, 3)
        assert text == f"{RULE}; got {came}"
        if unique in text:
            code = text.split("the classes, ")[1]
            assert checks.as_labels(eval(code, {"y": values, "np": np}), 3).tolist() == [0, 1]


def test_targets_adds_an_axis_for_one_output(dtype):
    assert_same_bits(checks.as_targets([1, 2, 3], 1, dtype, 3), np.array([[1], [2], [3]], dtype))


def test_targets_rejects_other_shapes(message_of):
    """The proposed code, run, gives targets."""
    for values, width, hint, code in (
        (np.array([0, 1, 1, 0]), 2, ": one-hot labels are ", "np.eye(2)[y]"),
        ([0, 1, 1, 0], 2, ": one-hot labels are ", "np.eye(2)[np.asarray(y)]"),
        (np.zeros(4), 2, ": one-hot labels are ", "np.eye(2)[y.astype(int)]"),
        (np.full(4, 0.5), 2, "", ""),
        (np.full(4, np.nan), 2, "", ""),
        (np.array([0, 1, 2, 0]), 2, "", ""),
        (np.zeros((4, 1)), 2, "", ""),
        (np.zeros((1, 4)), 1, ": transpose it, ", "y.T"),
        (np.zeros((2, 4)), 2, ": transpose it, ", "y.T"),
        (np.zeros((4, 2, 1)), 2, ": flatten all axes but the first, ", "y.reshape(len(y), -1)"),
    ):
        text = message_of(ValueError, checks.as_targets, values, width, F4, 4)
        assert text == f"y must have the shape of the outputs, (N, {width}); got {np.shape(values)}{hint}{code}"
        assert not code or checks.as_targets(eval(code, {"y": values, "np": np}), width, F4, 4).shape == (4, width)
    text = message_of(ValueError, checks.as_targets, np.zeros((3, 2)), 2, F4, 4)
    assert text == "X and y must have as many rows as each other; got 4 and 3"


def test_targets_rejects_what_is_not_finite_where_asked(dtype, message_of):
    values = np.zeros((9, 2), dtype)
    values[7, 1] = np.nan
    text = message_of(ValueError, checks.as_targets, values, 2, dtype, finite=True)
    assert text.startswith("y must be finite; row 7 holds nan (numbers beyond the range of ")
    assert_same_bits(checks.as_targets(values, 2, dtype), values)


def test_targets_rejects_what_cannot_be_squared_where_asked(message_of):
    """1e25 is a float32, its square is not: no learning rate would help."""
    values = np.zeros((9, 2))
    for wrong in (1e25, -1e25):
        values[7, 1] = wrong
        text = message_of(ValueError, checks.as_targets, values, 2, F4, finite=True, squared=True)
        assert text == (
            f"y must lie within 9.2e+18 of 0, for its squares leave the range of float32; row 7 holds {np.float32(wrong)}: "
            "scale the targets (check_finite=False turns this check off)"
        )
        for unchecked in (
            checks.as_targets(values, 2, F4, finite=True),
            checks.as_targets(values, 2, F4, squared=True),
            checks.as_targets(values, 2, F8, finite=True, squared=True),
        ):
            assert unchecked[7, 1] == unchecked.dtype.type(wrong)
    values[7, 1] = 9e18
    assert checks.as_targets(values, 2, F4, finite=True, squared=True)[7, 1] == np.float32(9e18)
