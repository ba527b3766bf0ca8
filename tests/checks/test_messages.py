from __future__ import annotations

import numpy as np

import fastmlp as fm
from fastmlp.checks import describe, full_name
from fastmlp.checks.messages import a, class_name, code, place, shape_hint, shown, word


class Loud:
    shape = (2, 3)

    def __repr__(self):
        raise RuntimeError("no repr")


def test_shown_is_one_short_line():
    for value, text in (
        (1.5, "1.5"),
        ("a", "'a'"),
        (None, "None"),
        ("a\nb", r"'a\nb'"),
        (np.zeros((2, 2)), "an ndarray of shape (2, 2)"),
        (np.arange(3), "array([0, 1, 2])"),
        (list(range(100)), "a list"),
        (Loud(), "a Loud of shape (2, 3)"),
        (10**5000, "2**16609 or more"),
        (-(10**5000), "-2**16609 or more"),
        (fm.Sequential(fm.Linear(2, 2)), "a Sequential"),
    ):
        assert shown(value) == text


def test_owner_is_named_on_one_line():
    assert describe(fm.Linear(2, 3)) == "Linear(2, 3)"
    assert describe(fm.Sequential(fm.Linear(2, 2))) == "Sequential"
    assert describe("fit") == class_name("fit") == "fit"
    assert class_name(fm.Linear(2, 3)) == class_name(fm.Linear) == "Linear"
    assert full_name(fm.SGD) == full_name(fm.SGD([fm.Parameter((1,))], lr=1)) == "fastmlp.optim.sgd.SGD"
    assert [full_name(1), full_name(None)] == ["int", "NoneType"]
    assert [a("list"), a("ndarray"), a("int")] == ["a list", "an ndarray", "an int"]


def test_code_has_no_names_that_are_none():
    for name, expected in (("X", "X"), ("grad of 0.weight", "values"), ("0.weight", "values"), ("in", "values")):
        assert word(name) == code(np.zeros(1), name) == expected
        assert code([1], name) == f"np.asarray({expected})"
    assert code(np.ma.zeros(1), "y") == "np.asarray(y)"


def test_place_of_an_entry():
    assert [place((1,)), place((1, 2)), place((1, 2, 3))] == ["row 1", "row 1, column 2", "entry (1, 2, 3)"]


def test_shape_hint_leads_to_the_shape():
    """The proposed code, run, gives (N, width); where no code would, none is proposed."""
    for shape, width, column, hint in (
        ((3,), 3, None, "add a batch axis, x[None, :]"),
        ((5,), 1, None, "add a feature axis, x[:, None]"),
        ((5,), None, True, "add a feature axis, x[:, None]"),
        ((5,), None, False, "add a batch axis, x[None, :]"),
        ((3, 5), 3, None, "transpose it, x.T"),
        ((9, 3, 1), 3, None, "flatten all axes but the first, x.reshape(len(x), -1)"),
        ((9, 3, 2), None, None, "flatten all axes but the first, x.reshape(len(x), -1)"),
        ((28, 28), 784, None, "make it one row, x.reshape(1, -1)"),
        ((1, 4, 7), 28, None, "flatten all axes but the first, x.reshape(len(x), -1)"),
        ((2, 4, 7), 56, None, "make it one row, x.reshape(1, -1)"),
    ):
        assert shape_hint(shape, width, "x", column) == f": {hint}"
        taken = eval(hint.split(", ", 1)[1], {"x": np.zeros(shape)})
        assert taken.ndim == 2
        assert width is None or taken.shape[1] == width
    for shape, width in (((4,), 3), ((5, 4), 3), ((), 3), ((2, 2, 2), 3)):
        assert shape_hint(shape, width, "x") == ""
    assert shape_hint((3,), None, "x") == (
        ": add a batch axis, x[None, :], for one row, or add a feature axis, x[:, None], for one column"
    )


def test_nothing_is_not_transposed():
    assert "transpose" in shape_hint((5, 3), 5, "X")
    assert shape_hint((5, 0), 5, "X") == ""
