"""What an expression emits is what NumPy computes."""

from __future__ import annotations

import copy
import math
import re

import numba
import numpy as np
import pytest
from helpers import jit, jit_only

import fastmlp as fm
from fastmlp.kernels.compiler import expression as e
from fastmlp.kernels.compiler.derivative import Dual
from fastmlp.kernels.compiler.lines import lines_pass
from fastmlp.kernels.elementary import exp


def one(x):
    return x.dtype.type(1)


def on_bits(function):
    return lambda x: e.bits_to_float(function(e.float_to_bits(x)))


# The expression, with constants to the left and to the right, and the same for a NumPy array.
CASES = {
    "add": (lambda x: (x + one(x)) + (one(x) + x), lambda x: (x + 1) + (1 + x)),
    "subtract": (lambda x: (x - one(x)) * (one(x) - x), lambda x: (x - 1) * (1 - x)),
    "multiply": (lambda x: x * x * (one(x) * x), lambda x: x * x * x),
    "divide": (lambda x: (x / (one(x) + one(x))) / (one(x) / x), lambda x: (x / 2) / (1 / x)),
    "negate": (lambda x: -x, np.negative),
    "abs": (abs, np.abs),
    "less": (lambda x: e.select(x < one(x), one(x), x), lambda x: np.where(x < 1, 1, x)),
    "greater": (lambda x: e.select(x > one(x), x, -x), lambda x: np.where(x > 1, x, -x)),
    "constants": (lambda x: e.select(one(x) < x, one(x), -one(x)), lambda x: np.where(x > 1, 1, -1)),
    "copysign": (lambda x: e.copysign(x * x, x), lambda x: np.copysign(x * x, x)),
    "muladd": (lambda x: e.muladd(one(x), x, x), lambda x: x + x),
    "muladd of constants": (lambda x: e.muladd(one(x), one(x), x), lambda x: 1 + x),
    "shift": (on_bits(lambda n: (n >> n.dtype.type(3)) << n.dtype.type(3)), on_bits(lambda n: n - n % 8)),
    "bits": (on_bits(lambda n: (n & n.dtype.type(-4)) + n.dtype.type(1)), on_bits(lambda n: n - n % 4 + 1)),
}


def call(function, x):
    function = e.expression(function)

    @jit
    def loop(y, x):
        for i in range(x.size):
            y[i] = function(x[i])

    y = np.empty_like(x)
    loop(y, x)
    return y


def test_expression_is_what_numpy_computes(dtype, rng):
    x = np.concatenate([rng.standard_normal(31), [1, -1, 2, 1e10, -1e-10]]).astype(dtype)
    for name, (written, plain) in CASES.items():
        got, expected = call(written, x), plain(x).astype(dtype)
        np.testing.assert_array_equal(got.view(np.uint8), expected.view(np.uint8), err_msg=name)


def test_muladd_is_rounded_once_or_twice(dtype, rng):
    x = rng.standard_normal(67).astype(dtype)
    third = dtype.type(1) / dtype.type(3)
    y = call(lambda x: e.muladd(x, third, x), x)
    bound = np.finfo(dtype).eps * (np.abs(x * third) + np.abs(x))
    assert (np.abs(y - (x * third + x)) <= bound).all()


def test_comparison_with_nan_is_false(dtype):
    x = np.full(3, np.nan, dtype)
    below = call(lambda x: e.select(x < one(x), one(x), -one(x)), x)
    above = call(lambda x: e.select(x > one(x), one(x), -one(x)), x)
    np.testing.assert_array_equal(below, -1)
    np.testing.assert_array_equal(above, -1)


@jit_only
def test_expression_rejects_numbers_of_two_dtypes():
    with pytest.raises(TypeError, match="one dtype; got float32 and float64"):
        call(lambda x: x + np.float64(1), np.ones(3, np.float32))


@jit_only
def test_expression_is_for_floats_only():
    with pytest.raises(numba.TypingError):
        call(abs, np.ones(3, np.int64))


# Formulas with weak numbers, and what NumPy makes of them.
WEAK = {
    "numbers": (lambda x: (2 * x + 0.1) / 3 - (1 - x) * x / 7 - 1 / x, None),
    "powers": (lambda x: x**2 + 2 * x**1 + x**0, lambda x: x * x + 2 * x + 1),
    "order": (lambda x: e.select(x <= 1, 1, e.select(x >= 2, x, -1)), lambda x: np.where(x <= 1, 1, np.where(x >= 2, x, -1))),
    "equality": (
        lambda x: e.select(x == 1, 3, 0) + e.select(x != 1, 4, 0) + e.select(x != x, 5, 0),
        lambda x: np.where(x == 1, 3, 0) + np.where(x != 1, 4, 0) + np.where(np.isnan(x), 5, 0),
    ),
    "and, or, not": (
        lambda x: e.select((x > -1) & ~(x > 1) | (x > 2), x, 0),
        lambda x: np.where((x > -1) & ~(x > 1) | (x > 2), x, 0),
    ),
    "maximum": (lambda x: e.maximum(x, 0.5) + e.maximum(-1, x), lambda x: np.maximum(x, 0.5) + np.maximum(x, -1)),
    "minimum": (lambda x: e.minimum(x, 0.5) + e.minimum(x, x * x), lambda x: np.minimum(x, 0.5) + np.minimum(x, x * x)),
    "muladd": (lambda x: e.muladd(2, x, 1) + e.muladd(x, 0, 0) + e.muladd(1, 1, x), lambda x: 2 * x + 1 + x * 0 + (1 + x)),
    "copysign": (lambda x: e.copysign(2, x) + e.copysign(x, -1), lambda x: np.copysign(2, x) - np.abs(x)),
    "sqrt": (lambda x: e.sqrt(abs(x)), lambda x: np.sqrt(np.abs(x))),
    "a choice is a number": (
        lambda x: -abs(e.select(x > 0, 3, 2) * x) + (+x),
        lambda x: -np.abs(np.where(x > 0, 3, 2).astype(x.dtype) * x) + x,
    ),
}


def vectors(formulas, x):
    """What a pass over vectors makes of each formula: a row each."""
    run = lines_pass(lambda x: tuple(formula(x) for formula in formulas), 1, len(formulas))

    @jit
    def kernel(size, arguments):
        run(size, *arguments)

    y = np.empty(len(formulas) * x.size, x.dtype)
    outputs = [argument for k in range(len(formulas)) for argument in (y, k * x.size)]
    kernel(x.size, (x, 0, *outputs, x, 0))
    return y.reshape(len(formulas), x.size)


def test_formula_is_the_same_for_numbers_arrays_scalars_and_vectors_of_a_kernel(dtype, rng):
    x = np.concatenate([rng.standard_normal(58), [1, -1, 2, 1e10, -1e-10, np.nan]]).astype(dtype)
    passes = vectors([written for written, _ in WEAK.values()], x)
    for of_vectors, (name, (written, plain)) in zip(passes, WEAK.items()):
        with np.errstate(all="ignore"):
            expected = (plain or written)(x).astype(dtype)
            results = {"array": np.asarray(written(x)), "numbers": np.array([written(number) for number in x])}
        results |= {"scalars": call(written, x), "vectors": of_vectors}
        for kind, result in results.items():
            np.testing.assert_array_equal(result.astype(dtype), expected, err_msg=f"{name}, {kind}")


def test_power_multiplies(dtype, rng):
    """NumPy's own power rounds otherwise."""
    x = np.concatenate([rng.uniform(0.5, 2, 62), [-1.5, 0]]).astype(dtype)
    exponents = (0, 1, 2, 3, 5, 8, 13, -1, -4)
    for exponent, y in zip(exponents, vectors([lambda x, n=n: x**n for n in exponents], x)):
        with np.errstate(divide="ignore"):
            expected = x.astype(np.float64) ** exponent
        np.testing.assert_allclose(y, expected, rtol=abs(exponent) * np.finfo(dtype).eps)


def test_python_numbers_do_not_widen_what_they_meet(dtype):
    x = np.linspace(-1, 1, 7, dtype=dtype)
    for formula in (lambda x: 0.1 * x, lambda x: e.select(x > 0, x, 0.1), lambda x: e.select(x > 0, 1, 0) * x, exp):
        assert formula(x).dtype == dtype
        assert np.asarray(formula(x[0]) * x[0]).dtype == dtype
    assert exp(0.5) == exp(np.float64(0.5))


def test_computing_in_place_with_a_choice_forgets_its_branches():
    chosen = e.select(np.array([True, False]), 1, np.float32(0.5))
    assert e.branches(chosen)[1:] == (1, np.float32(0.5))
    assert e.branches(chosen * 2) is None
    assert e.branches(chosen[:1]) is None
    chosen *= 2
    assert e.branches(chosen) is None


# What a formula may not do, and what the message names.
FORBIDDEN = {
    "if": (lambda x: x if x > 0 else -x, "no branches.*select"),
    "and": (lambda x: e.select(x > 0 and x < 1, x, 0), "no branches.*`&`"),
    "chain": (lambda x: e.select(0 < x < 1, x, 0), "no branches.*`&`"),
    "max": (lambda x: max(x, 0), "no branches.*maximum"),
    "math": (math.exp, "functions of the math module.*fm.math"),
    "numpy": (np.exp, "np.exp computes with arrays.*fm.math"),
    "where": (lambda x: np.where(x > 0, x, 0), "np.where computes with arrays.*select"),
    "clip": (lambda x: np.clip(x, 0, 1), "np.clip computes with arrays.*minimum"),
    "method": (lambda x: x.sin(), "'sin'.*fm.math"),
    "round": (round, r"round\(x\)"),
    "int": (int, r"int\(x\)"),
    "float": (float, r"float\(x\)"),
    "power": (lambda x: x**0.5, r"got 0.5; use sqrt\(x\)"),
    "power of a number": (lambda x: 2**x, r"use exp\(x \* log\(base\)\)"),
    "power of both": (lambda x: x**x, "whole numbers n"),
    "sum": (sum, "one number at a time"),
    "array": (lambda x: np.ones(3) * x, "combines numbers|whole arrays|one dtype|no dimension"),
    "string": (lambda x: x + "1", "combines numbers"),
    "remainder": (lambda x: x % 2, "unsupported operand"),
}


@jit_only
@pytest.mark.once
def test_formula_rejects_what_it_may_not_do():
    for name, (formula, message) in FORBIDDEN.items():
        attempts = [lambda formula=formula: vectors([formula], np.ones(16, np.float32))]
        if name not in ("array", "string", "if", "and", "chain", "max"):  # a number that is known may decide
            attempts.append(lambda formula=formula: formula(Dual(np.float32(0.5), 1)))
        for attempt in attempts:
            try:
                attempt()
                said = "no error"
            except TypeError as error:
                said = str(error)
            assert re.search(message, said), name


@jit_only
def test_traced_number_is_no_sequence_and_has_no_other_attributes():
    number = Dual(np.float32(0.5), 1)
    assert not hasattr(number, "shape")
    assert copy.copy(number).value == number.value


@jit_only
def test_two_dtypes_are_an_error_that_names_the_cure():
    for formula in (lambda x: x * np.sqrt(2), lambda x: np.sqrt(2) * x, lambda x: e.select(x > 0, x, np.float64(0))):
        with pytest.raises(TypeError, match="got float32 and float64; constants are best Python numbers"):
            vectors([formula], np.ones(16, np.float32))


@jit_only
def test_messages_of_formulas_show_no_inner_names():
    """Neither the repr of a `Value`, nor advice on constants where a comparison is computed with."""
    for formula, message in (
        (lambda x: x**x, r"given as Python numbers; got Value; use sqrt"),
        (lambda x: (x > 0) * x, r"a comparison is no number: use select\(condition, a, b\)"),
        (lambda x: x > 0, "a comparison is no number"),
    ):
        kind = type("Mine", (fm.Activation,), {"value": staticmethod(formula)})
        with pytest.raises(TypeError, match=message):
            kind()(np.ones((2, 2), np.float32))
