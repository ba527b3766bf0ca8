"""Formulas of users at the border: what they take, and what they may not do, with the place where they do it."""

from __future__ import annotations

import functools
import math

import numba
import numpy as np
import pytest
from helpers import jit_only

import fastmlp as fm
from fastmlp import checks


def check(value, slope=None, **constants):
    return checks.check_formulas("Mine", value, slope, ("x",), ("x",), constants)


def bent(x):
    if x > 0:
        return x
    return 0


def by_keyword(x, *, a):
    return a * x


#: What a formula does that it may not, and what the message says.
FORBIDDEN = {
    "if": (bent, r"`.*x > 0.*` in line \d+ of test_formulas.py: .*no branches.*use select"),
    "math": (lambda x: 2 * math.exp(x), r"`.*math.exp\(x\).*` in line \d+ of .*functions of the math module .*use .*fm.math"),
    "math alone": (math.exp, "exp: .*functions of the math module"),
    "numpy": (lambda x: np.exp(x) + 1, r"`.*np.exp\(x\).*` in line .*np.exp computes with arrays"),
    "numpy alone": (np.tanh, "tanh: np.tanh computes with arrays"),
    "where": (lambda x: np.where(x > 0, x, 0), "np.where computes with arrays.*select"),
    "max": (lambda x: max(x, 0), "`max.*no branches.*maximum|no branches.*maximum"),
    "power": (lambda x: x**0.5, r"got 0.5; use sqrt\(x\)"),
    "a float64": (lambda x: x * np.float64(2), "numbers of one dtype; got float32 and float64"),
    "a method": (lambda x: x.sin(), "no 'sin'"),
    "a condition": (lambda x: x > 0, "a comparison is no number"),
    "a tuple": (lambda x: (x, x), "gives one number; got a tuple of 2"),
    "nothing": (lambda x: None, "gives one number; got None: a return is missing"),
    "a number": (3, "must be a function; got 3"),
    "no argument": (lambda: 1, "must take x; it takes nothing"),
    "an argument": (lambda x, a: a * x, r"it takes a too: constants={\"a\": ...} gives numbers"),
    "a keyword": (by_keyword, "must take x; it takes x, a"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_formula_that_cannot_be_compiled_is_refused(what):
    formula, message = FORBIDDEN[what]
    with pytest.raises(TypeError, match=f"^value of Mine .*{message}") as caught:
        check(formula)
    assert "\n" not in str(caught.value)
    if callable(formula) and what not in ("no argument", "an argument", "a keyword"):
        with pytest.raises(TypeError, match=f"^slope of Mine cannot be compiled: .*{message}"):
            check(abs, formula)


def test_error_of_another_kind_comes_through():
    with pytest.raises(NameError, match="is not defined"):
        check(lambda x: 2 * unknown(x))  # noqa: F821


@numba.njit
def compiled_square(x):
    return x * x


@jit_only
def test_function_that_numba_has_compiled_is_no_part_of_another():
    assert check(compiled_square) == ()
    with pytest.raises(TypeError, match=r"compiled_square\(x\).*` in .* calls a function that Numba has compiled"):
        check(lambda x: compiled_square(x) + 1)
    assert check(lambda x: compiled_square.py_func(x) + 1) == ()


def test_derivative_is_tried_too():
    def bits(x):
        return fm.math.select(x.float_to_bits() > 0, x, 0)

    with pytest.raises(TypeError, match=r"value of Mine, differentiated, cannot be compiled: .*no derivative"):
        check(bits)
    assert check(bits, abs) == ()


def test_constants_go_by_name():
    assert check(lambda x, a, b: a * x + b, b=1, a=2) == ("a", "b")
    assert check(lambda x, *rest: rest[0] * x, b=1) == ("b",)
    assert check(lambda x, a=1, b=2: a * x + b, a=3) == ("a",)
    assert check(lambda x, b=2: x + b) == ()
    assert check(functools.partial(lambda a, x: a * x, 2)) == ()
    for value, slope, message in (
        (lambda x, b: x, None, "must take x, then the constants a; it takes b too"),
        (lambda x: x, None, "must take x, then the constants a; it takes x$"),
        (lambda x, b=1, a=2: x, None, "must take x, then the constants a; it takes x, b, a"),
        (by_keyword, None, "must take x, then the constants a; it takes x, a"),
        (lambda x, a: x, lambda x: 1, "slope of Mine must take x, then the constants a; it takes x"),
    ):
        with pytest.raises(TypeError, match=message):
            check(value, slope, a=1)
    with pytest.raises(TypeError, match="in one order; value takes a, b, slope b, a"):
        check(lambda x, a, b: x, lambda x, b, a: x, a=1, b=2)


def test_constants_are_numbers_with_names():
    owner = fm.Tanh()
    assert checks.as_constants(None, owner) == {}
    assert checks.as_constants({"a": 1, "b": np.float32(0.5)}, owner) == {"a": 1.0, "b": 0.5}
    for given, error, message in (
        ([1], TypeError, r"constants must be a dictionary of numbers by name; got \[1\]"),
        ({1: 1}, TypeError, "1 is no name"),
        ({"a b": 1}, TypeError, "'a b' is no name"),
        ({"a": "1"}, TypeError, "a must be a number; got '1'"),
        ({"a": np.nan}, ValueError, "a must be finite; got nan"),
        ({"forward": 1}, ValueError, "a constant cannot be called 'forward': Tanh has an attribute of that name"),
    ):
        with pytest.raises(error, match=message):
            checks.as_constants(given, owner)


def test_first_argument_has_a_name():
    assert checks.first_argument(lambda y, a: y) == "y"
    assert checks.first_argument(lambda: 1) is None
    assert checks.first_argument(compiled_square) == "x"
    assert checks.first_argument(dict) in (None, "args")
