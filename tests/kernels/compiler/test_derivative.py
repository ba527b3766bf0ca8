"""Slopes that are derived are those that one would write, for numbers, arrays and in kernels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import assert_same_bits, jit, jit_only, lanes

from fastmlp.kernels.compiler.derivative import derivative, scaled
from fastmlp.kernels.compiler.expression import copysign, expression, float_to_bits, maximum, minimum, muladd, select, sqrt
from fastmlp.kernels.compiler.lines import lines_pass
from fastmlp.kernels.compiler.processor import REGISTER_BYTES
from fastmlp.kernels.elementary import erf, exp, expm1, log, log1p, normal_cdf, normal_pdf, sigmoid, tanh

ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805


def relu(x):
    return select(x > 0, x, 0)


def leaky(x):
    return select(x > 0, x, 0.01 * x)


def hardtanh(x):
    return minimum(maximum(x, -1), 1)


@expression
def softsign(x):
    return x / (1 + abs(x))


# The formula, and its slope as one would write it.
SLOPES = {
    "square": (lambda x: x * x, lambda x: 2 * x),
    "power": (lambda x: x**3 - x**-2 + x**0, lambda x: 3 * x**2 + 2 * x**-3),
    "constants": (lambda x: (2 * x - 1) / 4 + (3 - x) * 0.5, lambda x: 0 * x),
    "quotient": (lambda x: x / (1 + x * x), lambda x: (1 - x * x) / (1 + x * x) ** 2),
    "reciprocal": (lambda x: 1 / x, lambda x: -1 / (x * x)),
    "negative": (lambda x: -x * x, lambda x: -2 * x),
    "muladd": (lambda x: muladd(x, x, 3 * x) + muladd(2, x, 1), lambda x: 2 * x + 5),
    "abs": (lambda x: abs(x) * 2, lambda x: select(x > 0, 2, select(x < 0, -2, 0))),
    "copysign": (lambda x: copysign(x * x, x), lambda x: 2 * abs(x)),
    "relu": (relu, lambda x: select(x > 0, 1, 0)),
    "leaky": (leaky, lambda x: select(x > 0, 1, 0.01)),
    "hardtanh": (hardtanh, lambda x: select((x > -1) & (x < 1), 1, 0)),
    "relu6": (lambda x: minimum(maximum(x, 0), 6), lambda x: select((x > 0) & (x < 6), 1, 0)),
    "elu": (lambda x: select(x > 0, x, expm1(x)), lambda x: select(x > 0, 1, exp(x))),
    "selu": (
        lambda x: SCALE * select(x > 0, x, ALPHA * expm1(x)),
        lambda x: select(x > 0, SCALE, SCALE * ALPHA * exp(x)),
    ),
    "gelu": (lambda x: x * normal_cdf(x), lambda x: normal_cdf(x) + x * normal_pdf(x)),
    "silu": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x)))),
    "softplus": (lambda x: maximum(x, 0) + log1p(exp(-abs(x))), sigmoid),
    "softsign": (softsign, lambda x: 1 / (1 + abs(x)) ** 2),
    "exp": (exp, exp),
    "expm1": (lambda x: expm1(2 * x), lambda x: 2 * exp(2 * x)),
    "log": (lambda x: log(x * x), lambda x: 2 / x),
    "log1p": (lambda x: log1p(x * x), lambda x: 2 * x / (1 + x * x)),
    "tanh": (tanh, lambda x: 1 - tanh(x) * tanh(x)),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x))),
    "erf": (erf, lambda x: 2 / math.sqrt(math.pi) * exp(-x * x)),
    "sqrt": (lambda x: sqrt(1 + x * x), lambda x: x / sqrt(1 + x * x)),
    "normal_cdf": (normal_cdf, normal_pdf),
    "normal_pdf": (normal_pdf, lambda x: -x * normal_pdf(x)),
}

POINTS = np.concatenate([np.linspace(-4, 4, 58), [0.5, 1.5, -1e-3, 1e-3, 5.5, -5.5]])  # 64: none of them where a slope jumps


def compiled(formulas, *inputs):
    """What passes over vectors make of each formula: a row each. One pass with many outputs is compiled faster than many."""
    size, count = inputs[0].size, len(formulas)
    run = lines_pass(lambda *x: tuple(formula(*x) for formula in formulas), len(inputs), count)

    @jit
    def kernel(size, arguments):
        run(size, *arguments)

    y = np.empty(count * size, inputs[0].dtype)
    arguments = [argument for x in inputs for argument in (x, 0)]
    arguments += [argument for k in range(count) for argument in (y, k * size)]
    kernel(size, (*arguments, inputs[0], 0))
    return y.reshape(count, size)


def size_of_terms(value, x):
    """A slope's terms may cancel: an error is measured by the size of what was added."""
    return 1 + np.abs(x) + np.abs(value)


def test_derived_slopes_are_the_written_ones(dtype):
    x = POINTS.astype(dtype)
    loops = compiled([derivative(formula) for formula, _ in SLOPES.values()], x)
    assert loops.dtype == dtype
    for loop, (name, (formula, written)) in zip(loops, SLOPES.items()):
        derived = derivative(formula)
        expected = np.broadcast_to(np.asarray(written(POINTS), np.float64), x.shape)
        bound = 16 * np.finfo(dtype).eps * size_of_terms(expected, POINTS)
        with np.errstate(all="ignore"):
            array = np.broadcast_to(derived(x), x.shape)
            scalars = np.array([derived(number) for number in x])
        for kind, got in {"array": array, "scalars": scalars, "vectors": loop}.items():
            assert (np.abs(got - expected) <= bound).all(), f"{name}, {kind}"


def test_derived_slopes_match_central_differences():
    h = np.finfo(np.float64).eps ** (1 / 3)
    x = POINTS[np.abs(POINTS) > 2e-4]
    for name, (formula, _) in SLOPES.items():
        with np.errstate(all="ignore"):
            difference = (formula(x + h) - formula(x - h)) / (2 * h)
            derived = np.broadcast_to(derivative(formula)(x), x.shape)
        bound = 1e-8 * (1 + np.abs(difference)) + 1e-9 * np.abs(x) ** -5  # poles at 0
        assert (np.abs(derived - difference) <= bound).all(), name


def test_loss_is_differentiated_by_its_first_argument(dtype):
    def huber(out, y, delta):
        d = out - y
        return select(abs(d) < delta, 0.5 * d * d, delta * (abs(d) - 0.5 * delta))

    out = POINTS.astype(dtype)
    y, delta = np.flip(out).copy(), dtype.type(1.25)
    expected = np.clip(out - y, -delta, delta)
    got = derivative(huber)(out, y, delta)
    assert_same_bits(np.asarray(got, dtype), expected)
    mse = derivative(lambda out, y: (out - y) * (out - y))
    assert_same_bits(mse(out, y), 2 * (out - y))
    assert_same_bits(derivative(lambda out, y: (out - y) ** 2)(out, y), 2 * (out - y))
    squares, distances = compiled([mse, derivative(lambda out, y: abs(out - y))], out, y)
    assert_same_bits(squares, 2 * (out - y))
    assert_same_bits(distances, np.sign(out - y))


def test_slope_of_a_select_at_the_edge_and_at_nan(dtype):
    x = np.array([-1, -0.0, 0, 1, np.nan] * 16, dtype)[: 4 * lanes(dtype)]
    passes = compiled([derivative(relu), derivative(leaky)], x)
    for formula, negative, got in ((relu, 0, passes[0]), (leaky, 0.01, passes[1])):
        expected = np.where(x > 0, 1, negative).astype(dtype)
        assert_same_bits(np.asarray(derivative(formula)(x), dtype), expected)
        assert_same_bits(got, expected)
    for number in x[:5]:
        assert derivative(abs)(number) == (np.sign(number) if number == number else 0)


def test_scaled_selects_and_does_not_multiply(dtype):
    """So a gradient that is infinite is cut off where the slope is 0, and passes where it is 1."""
    x = np.tile(np.array([-1, 1, 2, -2], dtype), 16)
    dy = np.repeat(np.array([np.inf, -3, np.nan, 0.7], dtype), 16)
    slopes = {
        "derived": (derivative(relu), lambda x, dy: np.where(x > 0, dy, dtype.type(0))),
        "written": (lambda x: select(x > 0, 1, 0), lambda x, dy: np.where(x > 0, dy, dtype.type(0))),
        "leaky": (derivative(leaky), lambda x, dy: np.where(x > 0, dy, dtype.type(0.01) * dy)),
        "window": (
            derivative(lambda x: minimum(maximum(x, -1.5), 1.5)),
            lambda x, dy: np.where(abs(x) < 1.5, dy, dtype.type(0)),
        ),
        "twice": (derivative(lambda x: 2 * relu(x)), lambda x, dy: np.where(x > 0, 2 * dy, dtype.type(0))),
        "constant": (derivative(lambda x: x - x + 1), lambda x, dy: np.where(x == 7, dy, dtype.type(0))),
        "identity": (derivative(lambda x: x + 1), lambda x, dy: np.where(x == 7, x, dy)),
        "sign": (derivative(abs), lambda x, dy: np.where(x > 0, dy, -dy)),
        "smooth": (derivative(lambda x: x * x), lambda x, dy: dy * (x + x)),
    }
    passes = compiled([lambda x, d, slope=slope: scaled(d, slope(x)) for slope, _ in slopes.values()], x, dy)
    for got, (name, (slope, expected)) in zip(passes, slopes.items()):
        with np.errstate(invalid="ignore"):
            want = expected(x, dy)
        array = scaled(dy, slope(x))
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, want, err_msg=name)
        numbers = [scaled(d, slope(number)) for d, number in zip(dy, x)]
        assert {number.dtype for number in numbers} == {dtype}
        np.testing.assert_array_equal(numbers, want, err_msg=name)
        np.testing.assert_array_equal(got, want, err_msg=name)


def instructions(formula):
    """What a pass over one line of float32 emits."""
    run = lines_pass(formula, 2)

    @jit
    def kernel(x, dy, y):
        run(x.size, x, 0, dy, 0, y, 0, x, 0)

    kernel(*np.zeros((3, 16), np.float32))
    return kernel.inspect_llvm(kernel.signatures[0])


@jit_only
def test_derived_slopes_emit_nothing_useless():
    none = ("fmul", "fadd", "fsub", "fdiv", "fneg")
    for formula in (relu, abs, hardtanh):
        code = instructions(lambda x, dy, formula=formula: scaled(dy, derivative(formula)(x)))
        assert "fcmp" in code
        assert not any(f"{name} <" in code for name in none if (name, formula) != ("fneg", abs))
    code = instructions(lambda x, dy: scaled(dy, derivative(leaky)(x)))
    assert code.count("select <") == code.count("fmul <") == code.count("fcmp ") > 0
    code = instructions(lambda x, dy: scaled(dy, derivative(lambda x: 3 * x)(x)))
    assert code.count("fmul <") == code.count("store <16 x float>" if REGISTER_BYTES == 64 else "store <") > 0


def test_functions_without_a_derivative_say_so():
    with pytest.raises(TypeError, match="bits of a float have no derivative"):
        derivative(float_to_bits)(np.float32(1))


def test_constants_have_no_tangent(dtype):
    x = POINTS.astype(dtype)
    assert derivative(lambda x: 3 * x)(x) == 3
    assert derivative(lambda x: x**0)(x) == 0
    assert derivative(lambda x: x + 2)(x) == 1
