"""Updates through a program of one op, against NumPy in float64."""

from __future__ import annotations

import itertools

import numpy as np
from helpers import assert_same_bits, assert_within, eps, normal, ran_updates, small

import fastmlp as fm
from fastmlp.kernels.blocks.optimizers import Update, _kept_finite
from fastmlp.kernels.compiler.expression import sqrt
from fastmlp.kernels.layout import whole_lines

CASES = [case for case in itertools.product([0, 0.9], [1, 0.7], [0, 0.01], [0, 1]) if case[0] or not case[3]]


def sgd(case, size, dtype):
    """The op of SGD, its scalars, and how many arrays of state it has."""
    momentum, keep, decay, nesterov = case
    optimizer = fm.SGD(fm.Linear(1, 1).parameters(), lr=0.1, momentum=momentum)
    states = len(optimizer.state)
    numbers = np.array([-0.1, decay, *(momentum, keep, nesterov)[: 3 * states]], dtype)
    return Update(optimizer._formula, optimizer.update, states, len(numbers), 0, 0, size), numbers, states


def test_sgd_matches_reference(dtype, rng):
    for size, case in itertools.product(small([16, 32, 1040], [16]), CASES):
        params, velocity, grads = (normal(rng, size, dtype) for _ in range(3))
        before = grads.copy()
        op, numbers, states = sgd(case, size, dtype)
        ran = ran_updates([op], params, grads, [velocity][:states], numbers)
        minus_lr, decay, momentum, keep, nesterov = [*numbers.tolist(), 0.0, 1.0, 0.0][:5]  # as rounded
        p, v = params.astype(np.float64), velocity.astype(np.float64)
        g = grads + decay * p
        v = momentum * v + keep * g
        step = g if not momentum else g + momentum * v if nesterov else v
        scale = np.abs(params) + np.abs(velocity) + np.abs(grads)
        assert_within(ran.params, p + minus_lr * step, 6 * eps(dtype) * scale)
        if states:
            assert_within(ran.state[0], v, 4 * eps(dtype) * scale)
        assert_same_bits(grads, before)


def nothing(p, g):
    return p - g


def one(p, g, m, lr):
    m = m + g
    return p - lr * m, m


def two(p, g, m, v, lr, beta):
    m, v = beta * m + g, v + g * g
    return p - lr * m / sqrt(v), m, v


def four(p, g, a, b, c, d, k):
    return p + k * a, b, c + g, d, a


def references(p, g, state, numbers):
    """The new parameters and state of the formulas above, in plain NumPy."""
    if len(state) == 0:
        return p - g, []
    if len(state) == 1:
        m = state[0] + g
        return p - numbers[0] * m, [m]
    if len(state) == 2:
        m, v = numbers[1] * state[0] + g, state[1] + g * g
        return p - numbers[0] * m / np.sqrt(v), [m, v]
    a, b, c, d = state
    return p + numbers[0] * a, [b, c + g, d, a]


def test_a_formula_with_state_and_scalars_is_what_it_says(dtype, rng):
    """Each array of state with its own memory, however many there are; all are read before one is written."""
    for formula, states, numbers in ((nothing, 0, ()), (one, 1, (0.5,)), (two, 2, (0.25, 0.5)), (four, 4, (2,))):
        for size in small([16, 48, 1040], [16, 48]):
            params, grads, *state = (np.abs(normal(rng, size, dtype)) + 1 for _ in range(2 + states))
            ran = ran_updates([Update("written", formula, states, len(numbers), 0, 0, size)], params, grads, state, numbers)
            expected, new = references(params, grads, state, [dtype.type(x) for x in numbers])
            for got, wanted in zip([ran.params, *ran.state], [expected, *new]):
                assert_within(got, wanted, 4 * eps(dtype) * np.maximum(1, np.abs(wanted)))


def test_each_span_has_its_formula_and_its_scalars(dtype, rng):
    """And what lies in no span is left alone."""
    line = whole_lines(1, dtype)
    params, grads, state = (normal(rng, 6 * line, dtype) for _ in range(3))
    ops = [Update("one", one, 1, 1, 0, line, line), Update("one", one, 1, 1, 1, 3 * line, 2 * line)]
    ran = ran_updates(ops, params, grads, [state], [0.5, 2.0])
    for op, lr in zip(ops, (0.5, 2.0)):
        span = slice(op.first, op.first + op.size)
        expected = ran_updates([Update("one", one, 1, 1, 0, 0, op.size)], params[span], grads[span], [state[span]], [lr])
        assert_same_bits(ran.params[span], expected.params)
        assert_same_bits(ran.state[0, span], expected.state[0])
    rest = np.ones(6 * line, bool)
    for op in ops:
        rest[op.first : op.first + op.size] = False
    assert_same_bits(ran.params[rest], params[rest])
    assert_same_bits(ran.state[0, rest], state[rest])


def test_two_formulas_of_one_name_do_not_mix(dtype):
    params, grads = np.full(16, 3, dtype), np.ones(16, dtype)
    for formula, expected in ((nothing, 2), (lambda p, g: p + g, 4)):
        assert (ran_updates([Update("same", formula, 0, 0, 0, 0, 16)], params, grads).params == expected).all()


def test_padding_stays_zero(dtype):
    params = np.zeros(16, dtype)
    for case in CASES:
        op, numbers, states = sgd(case, 16, dtype)
        ran = ran_updates([op], params, params.copy(), [params][:states], numbers)
        assert not ran.params.any()
        assert not ran.state.any()


def test_padding_stays_zero_where_a_formula_divides_by_zero_there(dtype, rng):
    """`two` divides by the root of a sum of squares: 0 / 0 where nothing has come yet. What it computes elsewhere stands."""
    params, grads, *state = (np.abs(normal(rng, 32, dtype)) + 1 for _ in range(4))
    for array in (params, grads, *state):
        array[20:] = 0
    params[20], grads[21], state[1][22] = 1, 1, 1  # no padding: one is there
    ran = ran_updates([Update("written", two, 2, 2, 0, 0, 32)], params, grads, state, (0.25, 0.5))
    with np.errstate(all="ignore"):
        expected, new = references(params, grads, state, [dtype.type(0.25), dtype.type(0.5)])
    for got, wanted in zip([ran.params, *ran.state], [expected, *new]):
        assert_within(np.delete(got[:23], 20), np.delete(wanted[:23], 20), 4 * eps(dtype) * 20)
        assert not got[23:].any()
    assert np.isnan(ran.params[20]), "a parameter that is no padding is what the formula says"


def test_a_formula_that_is_finite_at_zero_is_left_as_it_is():
    """It costs nothing there."""
    for momentum in (0, 0.9):
        update = fm.SGD(fm.Linear(1, 1).parameters(), lr=0.1, momentum=momentum).update
        assert _kept_finite(update, int(momentum > 0), 5 if momentum else 2) is update
    assert _kept_finite(two, 2, 2) is not two
