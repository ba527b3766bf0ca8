from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import assert_same_bits, assert_within, eps, normal

from fastmlp.kernels import updates
from fastmlp.kernels.updates import HYPER_SIZE, KEEP, LR, MOMENTUM, NESTEROV, WEIGHT_DECAY


def hyper(dtype, lr=0.1, momentum=0.0, keep=1.0, weight_decay=0.0, nesterov=0.0):
    values = np.zeros(HYPER_SIZE, dtype)
    values[[LR, MOMENTUM, KEEP, WEIGHT_DECAY, NESTEROV]] = lr, momentum, keep, weight_decay, nesterov
    return values


@pytest.mark.parametrize("size", [1, 7, 16, 129])
@pytest.mark.parametrize(
    ("momentum", "keep", "decay", "nesterov"),
    [case for case in itertools.product([0, 0.9], [1, 0.7], [0, 0.01], [0, 1]) if case[0] or not case[3]],
)
def test_sgd_step_matches_reference(momentum, keep, decay, nesterov, size, dtype, rng):
    params, velocity, grads = (normal(rng, size, dtype) for _ in range(3))
    numbers = hyper(dtype, 0.1, momentum, keep, decay, nesterov)
    lr, momentum, keep, decay = (float(x) for x in numbers[[LR, MOMENTUM, KEEP, WEIGHT_DECAY]])
    p, v = params.astype(np.float64), velocity.astype(np.float64)
    g = grads + decay * p
    v = momentum * v + keep * g if momentum else v
    step = g if not momentum else g + momentum * v if nesterov else v
    scale = np.abs(params) + np.abs(velocity) + np.abs(grads)
    before = grads.copy()
    updates.sgd_step(params, velocity, grads, numbers)
    assert_within(velocity, v, 4 * eps(dtype) * scale)
    assert_within(params, p - lr * step, 6 * eps(dtype) * scale)
    assert_same_bits(grads, before)


def test_sgd_step_without_momentum_takes_an_empty_velocity(dtype, rng):
    params, grads = normal(rng, 17, dtype), normal(rng, 17, dtype)
    other = params.copy()
    updates.sgd_step(params, np.empty(0, dtype), grads, hyper(dtype))
    updates.sgd_step(other, np.full(17, np.nan, dtype), grads, hyper(dtype))
    assert_same_bits(params, other)


def test_sgd_step_keeps_padding_zero(dtype):
    params, velocity, grads = np.zeros(16, dtype), np.zeros(16, dtype), np.zeros(16, dtype)
    updates.sgd_step(params, velocity, grads, hyper(dtype, 0.1, 0.9, 1, 0.1, 1))
    assert not params.any()
    assert not velocity.any()


def test_sgd_step_of_a_part_is_the_part_of_the_step(dtype, rng):
    params, velocity, grads = (normal(rng, 37, dtype) for _ in range(3))
    parts = params.copy(), velocity.copy()
    numbers = hyper(dtype, 0.1, 0.9, 0.5, 0.01, 0)
    updates.sgd_step(params, velocity, grads, numbers)
    for first, last in ((0, 5), (5, 21), (21, 37)):
        updates.sgd_step(parts[0][first:last], parts[1][first:last], grads[first:last], numbers)
    assert_same_bits(params, parts[0])
    assert_same_bits(velocity, parts[1])
