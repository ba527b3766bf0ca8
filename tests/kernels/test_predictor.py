"""What a predictor's functions compute, on whatever processor this runs: the same bits as the engine."""

from __future__ import annotations

import numpy as np
from helpers import assert_same_bits, jit_only, make_net, normal, small

import fastmlp as fm
from fastmlp.kernels.compiler.jit import history
from fastmlp.kernels.predictor import FUNCTIONS, HEADER, KERNELS


def test_forward_back_and_tangents(dtype):
    for widths in small([[2, 25, 25, 3], [40, 64, 33], [3, 130, 1], [1, 1]], [[2, 5, 3], [5, 20, 1]]):
        for activation in ("relu", "tanh"):
            model = make_net(widths, activation, dtype=dtype)
            p = fm.compiled(model)
            for rows in small((1, 2, 9, 70), (1, 9)):
                x = normal(np.random.default_rng(0), (rows, widths[0]), dtype)
                out, jac = np.empty((rows, widths[-1]), dtype), np.empty((rows, widths[-1], widths[0]), dtype)
                assert_same_bits(p(x, out), model.predict(x))
                assert_same_bits(p.jacobian(x, out, jac), fm.jacobian(model, x))
                assert_same_bits(out, model.predict(x))
                dy = normal(np.random.default_rng(1), out.shape, dtype)
                model(x)
                assert_same_bits(p.vjp(x, dy, np.empty_like(x)), model.backward(dy))


def test_subnormal_numbers_are_zero_as_in_the_engine(dtype):
    """And the caller's rounding mode is as it was: what NumPy computes afterwards has them."""
    model = make_net([1, 1], dtype=dtype)
    tiny = np.finfo(dtype).smallest_normal
    model[0].weight.data, model[0].bias.data = [[0.5]], [0]
    x = np.array([[tiny]], dtype)
    assert_same_bits(fm.compiled(model).predict(x), model.predict(x))
    assert np.array([tiny], dtype)[0] / dtype.type(2) != 0


def test_the_first_words_of_a_header_stay():
    assert HEADER[:3] == ("inputs", "outputs", "itemsize")
    assert set(FUNCTIONS) == {"forward", "jacobian", "vjp", "jvp"}


@jit_only
def test_each_is_compiled_once_for_all_networks(dtype):
    for widths in ([1, 1], [3, 40, 2]):
        fm.compiled(make_net(widths, dtype=dtype))
    names = [entry.name for entry in history]
    for kernel in KERNELS:
        assert 1 <= names.count(f"predictor-{kernel}") <= 2  # one for a dtype
