"""Elementwise blocks through a program of one op, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import (
    DIFFERENCE_BOUND,
    ROWS,
    assert_same_bits,
    assert_within,
    central_differences,
    eps,
    normal,
    ran_both_ways,
    ran_predicting,
    run_python,
    small,
)

import fastmlp as fm
from fastmlp.kernels.blocks.elementwise import Elementwise, elementwise_block
from fastmlp.kernels.compiler.expression import select
from fastmlp.kernels.compiler.processor import TRIPLE
from fastmlp.program import Program

WIDTHS = small([1, 2, 7, 15, 16, 17, 31, 33, 129], [1, 7, 17])


def leaky(x, a):
    return select(x > 0, x, a * x)


def leaky_slope(x, a):
    return select(x > 0, 1, a)


def between(x, low, high):
    return select(x < low, low, select(x > high, high, x))


def between_slope(y, low, high):
    return select(y > low, select(y < high, 1, 0), 0)


def square(x):
    return x * x


def double(x):
    return x + x


def scaled_square(x, a):
    return a * x * x


def scaled_double(x, a):
    return 2 * a * x


def softsign(x):
    return x / (1 + abs(x))


def built_in(kind):
    return lambda width: kind()._ops(width)[0]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


#: An op of a width; its function and its slope in float64, both of x; and units in the last place that they are off by.
FORMULAS = {
    "relu": (built_in(fm.ReLU), lambda x: np.maximum(x, 0), lambda x: x > 0, 1),
    "tanh": (built_in(fm.Tanh), np.tanh, lambda x: 1 - np.tanh(x) ** 2, 4),
    "sigmoid": (built_in(fm.Sigmoid), sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x)), 4),
    "a constant, reads x": (
        lambda width: Elementwise(width, "leaky", leaky, leaky_slope, "x", (0.25,)),
        lambda x: np.where(x > 0, x, 0.25 * x),
        lambda x: np.where(x > 0, 1, 0.25),
        1,
    ),
    "two constants": (
        lambda width: Elementwise(width, "between", between, between_slope, "y", (-0.5, 1.0)),
        lambda x: np.clip(x, -0.5, 1),
        lambda x: (x > -0.5) & (x < 1),
        1,
    ),
    "derived": (
        lambda width: Elementwise(width, "softsign", softsign, None, "slope"),
        lambda x: x / (1 + np.abs(x)),
        lambda x: 1 / (1 + np.abs(x)) ** 2,
        4,
    ),
    "reads x": (lambda width: Elementwise(width, "square", square, double, "x"), np.square, lambda x: 2 * x, 2),
    "keeps its slope": (
        lambda width: Elementwise(width, "scaled", scaled_square, scaled_double, "slope", (0.5,)),
        lambda x: 0.5 * x * x,
        lambda x: x,
        2,
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_both_ways_match_reference(name, dtype, rng):
    make, value, slope, ulps = FORMULAS[name]
    for width in WIDTHS:
        for rows in ROWS:
            x, dy = 2 * normal(rng, (rows, width), dtype), normal(rng, (rows, width), dtype)
            before = x.copy(), dy.copy()
            ran = ran_both_ways([make(width)], x, dy)
            wide = x.astype(np.float64)
            assert_within(ran.y, value(wide), ulps * eps(dtype) * np.abs(value(wide)))
            # Near a slope of zero the output's own rounding shows: in its place, not in the last one.
            assert_within(ran.dx, dy * slope(wide), 4 * ulps * eps(dtype) * np.abs(dy) * np.maximum(1, np.abs(slope(wide))))
            for array, kept in zip((x, dy), before):
                assert_same_bits(array, kept)
            assert_same_bits(ran_predicting([make(width)], x, width).y, ran.y)


def test_backward_matches_finite_difference(rng):
    x, dy = normal(rng, (2, 9), np.dtype(np.float64)), normal(rng, (2, 9), np.dtype(np.float64))
    for make, *_ in FORMULAS.values():
        dx = ran_both_ways([make(9)], x, dy).dx

        def loss():
            y = ran_both_ways([make(9)], x, dy).y  # noqa: B023
            return (y * dy).sum()

        assert_within(dx, central_differences(loss, x), DIFFERENCE_BOUND)


def test_relu_of_special_values(dtype):
    tiny = np.finfo(dtype).tiny
    x = np.array([[np.nan, np.inf, -np.inf, 0.0, -0.0, tiny, -tiny]], dtype)
    ran = ran_both_ways([fm.ReLU()._ops(7)[0]], x, np.full((1, 7), 5, dtype))
    np.testing.assert_array_equal(ran.y, np.array([[np.nan, np.inf, 0, 0, 0, tiny, 0]], dtype))
    np.testing.assert_array_equal(ran.dx[:, 1:], [[5, 0, 0, 0, 5, 0]], "the derivative is 0 at 0")


def test_nan_and_infinity_come_through(dtype):
    x = np.array([[np.nan, np.inf, -np.inf]], dtype)
    expected = {"tanh": [np.nan, 1, -1], "sigmoid": [np.nan, 1, 0], "reads x": [np.nan, np.inf, np.inf]}
    for name, values in expected.items():
        y = ran_both_ways([FORMULAS[name][0](3)], x, np.ones((1, 3), dtype)).y
        np.testing.assert_array_equal(y, np.array([values], dtype), name)
    for make, *_ in FORMULAS.values():
        dy = np.array([[np.nan, np.inf, 1]], dtype)
        dx = ran_both_ways([make(3)], np.full((1, 3), 0.75, dtype), dy).dx
        assert np.isnan(dx[0, 0])
        assert dx[0, 1] == np.inf
        assert np.isfinite(dx[0, 2])


def test_rows_along_the_vectors_agree_to_the_bit(dtype, rng):
    """Behind each other, with a constant among them, for every number of rows of a block."""
    for rows in small([*range(1, 50), 131], [1, 25]):
        x = normal(rng, (rows, 3), dtype)
        kinds = [make for make, *_ in FORMULAS.values()]
        expected = x.copy()
        for make in kinds:
            expected = ran_both_ways([make(3)], expected, x).y
        program = [make(3) for make in kinds]
        assert_same_bits(ran_predicting(program, x, 3).y, expected)
        assert_same_bits(ran_both_ways([make(3) for make in kinds], x, x).y, expected)


def test_in_place_and_not_in_place_agree_to_the_bit(dtype, rng):
    """An activation between others lies in memory of its own, or over its input: the same function."""
    x, dy = normal(rng, (5, 17), dtype), normal(rng, (5, 17), dtype)
    first, second = FORMULAS["tanh"][0], FORMULAS["sigmoid"][0]
    ran = ran_both_ways([first(17), second(17)], x, dy)
    middle = ran_both_ways([first(17)], x, dy)
    last = ran_both_ways([second(17)], middle.y, dy)
    assert_same_bits(ran.y, last.y)
    assert_same_bits(ran.dx, ran_both_ways([first(17)], x, last.dx).dx)


def test_a_constant_is_a_value_and_no_other_block(dtype, rng):
    x = normal(rng, (3, 5), dtype)
    ops = [Elementwise(5, "leaky", leaky, leaky_slope, "x", (a,)) for a in (0.5, -2.0)]
    assert ops[0].block is ops[1].block
    for op, a in zip(ops, (0.5, -2.0)):
        assert_same_bits(ran_both_ways([op], x, x).y, np.where(x > 0, x, dtype.type(a) * x))


def thrice(x):
    return 3 * x


def thrice_slope(y):
    return 3


def test_two_formulas_of_one_name_do_not_mix(dtype):
    """Two classes of a user may have one name, in one program or in two."""
    x = np.ones((1, 2), dtype)
    for value, slope, expected in ((thrice, thrice_slope, 3), (square, double, 1)):
        ran = ran_both_ways([Elementwise(2, "same", value, slope, "x")], x, x)
        assert (ran.y == expected).all()
        assert (ran.dx == slope(x)).all()
    assert elementwise_block("same", thrice, thrice_slope, 0) is elementwise_block("same", thrice, thrice_slope, 0)


def test_padding_of_deltas_stays_zero(dtype, rng):
    for make, *_ in FORMULAS.values():
        x, dy = normal(rng, (3, 5), dtype), normal(rng, (3, 5), dtype)
        ran = ran_both_ways([make(5)], x, dy)
        assert not ran.rows_at(ran.program.records[1].dx, 5, 3)[:, 5:].any()


def test_every_number_of_a_narrow_prediction_with_registers_of_half_a_line():
    """A feature takes a line and a half there, and a pass computes whole lines: the last rows of the last one were left out."""
    if not TRIPLE.startswith("x86_64"):
        pytest.skip("these are features of x86")
    code = """
import os
os.environ |= {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+avx", "NUMBA_DISABLE_JIT": "1"}
import numpy as np, fastmlp as fm
from fastmlp.kernels.compiler.processor import REGISTER_BYTES
assert REGISTER_BYTES == 32
model = fm.Sequential(fm.Linear(2, 25), fm.Tanh(), fm.Linear(25, 1), fm.Sigmoid())
x = np.ones((24, 2), np.float32)
assert np.abs(model.predict(x) - model(x)).max() < 1e-6
"""
    run_python(code)


def test_slopes_of_one_formula_that_read_different_buffers_do_not_mix(dtype):
    """Their instructions are the same, so whichever was compiled first was the machine code of both."""
    x = np.full((1, 2), 2, dtype)
    for saves, expected in (("y", 6), ("x", 2)):
        ran = ran_both_ways([Elementwise(2, "same", thrice, itself, saves)], x, np.ones_like(x))
        assert (ran.dx == expected).all()


def itself(saved):
    return saved


def test_slope_that_is_kept_has_memory_where_there_is_a_way_back(dtype):
    """That of the input, which the output takes over; a prediction takes none."""
    for both_ways in (True, False):
        sizes = []
        for saves in ("slope", "x", "y"):
            op = Elementwise(16, "itself", itself, itself, saves)
            if both_ways:
                program = Program.both_ways([op, Elementwise(16, "itself", itself, itself, "y")], dtype, batch=64)
            else:
                program = Program.predicting([op], dtype, threads=1)
            record = program.records[1]
            assert (record.saved >= 0) == (both_ways or saves != "slope")
            sizes.append(program.memory.size)
        assert sizes[0] == sizes[1] if both_ways else len(set(sizes)) == 1


def test_slope_of_zero_gives_zero_whatever_the_delta_is(dtype):
    """As one that is read from x does, where it is a select."""
    x, dy = np.array([[-1, 1]], dtype), np.full((1, 2), np.inf, dtype)
    for slope in (relu_slope, None):
        ran = ran_both_ways([Elementwise(2, "relu", relu_value, slope, "slope")], x, dy)
        np.testing.assert_array_equal(ran.dx, [[0, np.inf]])


def relu_value(x):
    return select(x > 0, x, 0)


def relu_slope(x):
    return select(x > 0, 1, 0)
