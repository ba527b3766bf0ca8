"""fm.math: the same functions for formulas, for NumPy, and for functions that Numba compiles."""

from __future__ import annotations

import numba
import numpy as np
from helpers import assert_within, eps, normal

import fastmlp as fm
from fastmlp.kernels import elementary
from fastmlp.kernels.compiler import expression

#: The functions, as formulas of one number, and what they are in NumPy.
FUNCTIONS = {
    "clip": (lambda x: fm.math.clip(x, -0.5, 1), lambda x: np.clip(x, -0.5, 1)),
    "copysign": (lambda x: fm.math.copysign(2, x), lambda x: np.copysign(2, x)),
    "exp": (fm.math.exp, np.exp),
    "expm1": (fm.math.expm1, np.expm1),
    "log": (lambda x: fm.math.log(abs(x)), lambda x: np.log(np.abs(x))),
    "log1p": (lambda x: fm.math.log1p(x * x), lambda x: np.log1p(x * x)),
    "maximum": (lambda x: fm.math.maximum(x, 0), lambda x: np.maximum(x, 0)),
    "minimum": (lambda x: fm.math.minimum(0, x), lambda x: np.minimum(x, 0)),
    "muladd": (lambda x: fm.math.muladd(x, x, 1), lambda x: x * x + 1),
    "select": (lambda x: fm.math.select((x > -1) & ~(x >= 1), x, 0), lambda x: np.where((x > -1) & (x < 1), x, 0)),
    "sigmoid": (fm.math.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "sign": (fm.math.sign, np.sign),
    "softplus": (fm.math.softplus, lambda x: np.logaddexp(0, x)),
    "sqrt": (lambda x: fm.math.sqrt(abs(x)), lambda x: np.sqrt(np.abs(x))),
    "tanh": (fm.math.tanh, np.tanh),
}

#: NumPy has none: tests/kernels/test_elementary.py compares them with mpmath.
ELSEWHERE = {"erf", "normal_cdf", "normal_pdf"}


def test_functions_in_a_formula_match_numpy(dtype, rng):
    assert FUNCTIONS.keys() | ELSEWHERE == set(fm.math.__all__)
    x = normal(rng, (3, 17), dtype)
    for name, (formula, reference) in FUNCTIONS.items():
        expected = reference(x.astype(np.float64))
        bound = 8 * eps(dtype) * np.maximum(1, np.abs(expected))
        assert_within(fm.Activation(formula)(x), expected, bound)
        assert_within(formula(x), expected, bound), name


def test_functions_of_nan_and_of_zero():
    assert np.isnan(fm.math.clip(np.nan, 0, 1))
    assert np.isnan(fm.math.sign(np.nan))
    assert fm.math.sign(0.0) == 0
    zeros = fm.Activation(fm.math.sign)
    np.testing.assert_array_equal(zeros([[np.nan, 0, -3, np.inf]]), np.array([[np.nan, 0, -1, 1]], np.float32))
    assert not zeros.backward([[1, 1, 1, 1]])[0, 1:].any()


def test_functions_have_the_names_of_the_kernels():
    for name in fm.math.__all__:
        here = getattr(elementary, name, getattr(expression, name, None))
        assert here in (None, getattr(fm.math, name))
        assert getattr(fm.math, name).__doc__


@numba.njit
def bump(x):
    return fm.math.exp(-x * x)


def test_function_that_numba_compiles_may_call_them(rng):
    x = rng.standard_normal((2, 5))
    assert abs(bump(0.5) - np.exp(-0.25)) < 1e-15
    assert_within(fm.Activation(bump)(x), np.exp(-x * x), 1e-15)
