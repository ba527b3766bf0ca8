"""A formula over flat arrays is what NumPy computes, in vectors, in place, and stays within its lines."""

from __future__ import annotations

import time

import numba
import numpy as np
import pytest
from helpers import assert_same_bits, jit, jit_only, lanes, masked_stores

from fastmlp.kernels.compiler.expression import maximum, muladd, select
from fastmlp.kernels.compiler.lines import columns_pass, lines_pass, update_pass
from fastmlp.kernels.compiler.processor import REGISTER_BYTES
from fastmlp.kernels.compiler.value import F32, F64
from fastmlp.kernels.elementary import exp, tanh


def relu(x):
    return select(x > 0, x, 0)


def gate(y, d):
    return select(y > 0, d, 0)


def leaky(x, slope):
    return select(x > 0, x, slope * x)


def momentum(p, g, m, rate, factor):
    m = factor * m + g
    return p - rate * m, m


def scaled(x, y, factor, shift, power):
    return factor * x + shift * y + power


def swap(a, b):
    return b, a


def nothing(x):
    return 0


def clamp(x, low):
    return maximum(x, low) / 3


RELU, GATE = lines_pass(relu, 1), lines_pass(gate, 2)
LEAKY, CLAMP = lines_pass(leaky, 1, constants=1), lines_pass(clamp, 1, constants=1)
MOMENTUM, SWAP, NOTHING = lines_pass(momentum, 3, 2, 2), lines_pass(swap, 2, 2), lines_pass(nothing, 1)
TANH, UPDATE = lines_pass(tanh, 1), update_pass(momentum, 1, 2)
SCALED = columns_pass(scaled, 2, 2, 1)


@jit
def run_relu(size, x, x_at, y, y_at):
    RELU(size, x, x_at, y, y_at, x, 0)


@jit
def run_leaky(size, x, x_at, y, y_at, constants):
    LEAKY(size, x, x_at, y, y_at, constants, 1)


@jit
def run_clamp(size, x, x_at, y, y_at, constants):
    CLAMP(size, x, x_at, y, y_at, constants, 1)


@jit
def run_momentum(size, p, g, m, new_p, new_m, at, constants):
    MOMENTUM(size, p, at, g, at, m, at, new_p, at, new_m, at, constants, 0)


@jit
def run_update(size, p, g, state, at, stride, constants):
    UPDATE(size, p, at, g, at, state, at, stride, constants, 0)


@jit
def run_scaled(size, x, y, k, stride, out, constants):
    SCALED(size, x, 0, y, size, k, 3, stride, out, size, constants, 1)


@jit
def run_swap(size, a, b, at):
    SWAP(size, a, at, b, at, a, at, b, at, a, 0)


@jit
def run_nothing(size, x, at):
    NOTHING(size, x, at, x, at, x, 0)


@jit
def run_tanh(size, x, at, y):
    TANH(size, x, at, y, at, x, 0)


@jit
def run_wrong_number_of_arguments(size, x):
    RELU(size, x, 0)


SIZES = [0, 1, 2, 3, 5, 8, 9, 33]  # in lines


def numbers(rng, size, dtype):
    x = rng.standard_normal(size).astype(dtype)
    x[::7] = np.nan
    x[3::11] = -0.0
    return x


def test_pass_matches_numpy_and_keeps_to_its_lines(dtype, rng):
    line = lanes(dtype)
    slope = dtype.type(0.01)
    before_and_slope = np.array([7, slope], dtype)
    for lines in SIZES:
        size = lines * line
        for at in (0, line, line + 3):
            x, y = numbers(rng, size + 3 * line, dtype), numbers(rng, size + 3 * line, dtype)
            part = x[at : at + size]
            for run, constants, result in (
                (run_relu, (), np.where(part > 0, part, dtype.type(0))),
                (run_leaky, (before_and_slope,), np.where(part > 0, part, slope * part)),
                (run_clamp, (before_and_slope,), np.maximum(part, slope) / dtype.type(3)),
            ):
                expected = y.copy()
                expected[line : line + size] = result
                run(size, x, at, y, line, *constants)
                assert_same_bits(y, expected)


def test_pass_with_several_outputs_in_place(dtype, rng):
    line = lanes(dtype)
    rate, factor = dtype.type(0.1), dtype.type(0.9)
    for lines in SIZES:
        size = lines * line
        p, g, m = (numbers(rng, size + 2 * line, dtype) for _ in range(3))
        inside = slice(line, line + size)
        new_p, new_m, m_before = p.copy(), m.copy(), m.copy()
        new_m[inside] = factor * m[inside] + g[inside]
        new_p[inside] = p[inside] - rate * new_m[inside]
        state = np.concatenate([m, m])
        old_p, constants = p.copy(), np.array([rate, factor])
        run_momentum(size, p, g, m, p, m, line, constants)
        assert_same_bits(p, new_p)
        assert_same_bits(m, new_m)
        run_update(size, old_p, g, state, line, m.size, constants)  # its state is the first part
        assert_same_bits(old_p, new_p)
        assert_same_bits(state, np.concatenate([new_m, m_before]))


def test_pass_with_numbers_for_each_column(dtype, rng):
    """Parts of one array, some entries apart."""
    for lines in SIZES[1:]:
        size, stride = lines * lanes(dtype), lines * lanes(dtype) + 5
        x, y, out = (numbers(rng, 3 * size, dtype) for _ in range(3))
        k, constants = numbers(rng, 3 + 2 * stride, dtype), np.array([9, 0.5], dtype)
        factor, shift = k[3 : 3 + size], k[3 + stride : 3 + stride + size]
        expected = out.copy()
        expected[size : 2 * size] = factor * x[:size] + shift * y[size : 2 * size] + dtype.type(0.5)
        run_scaled(size, x, y, k, stride, out, constants)
        assert_same_bits(out, expected)


def test_pass_loads_a_line_before_it_stores(dtype, rng):
    size = 5 * lanes(dtype)
    a, b = numbers(rng, size, dtype), numbers(rng, size, dtype)
    expected = b.copy(), a.copy()
    run_swap(size, a, b, 0)
    assert_same_bits(a, expected[0])
    assert_same_bits(b, expected[1])


def test_pass_of_a_formula_that_gives_a_python_number(dtype, rng):
    x = numbers(rng, 3 * lanes(dtype), dtype)
    run_nothing(lanes(dtype), x, lanes(dtype))
    assert not x[lanes(dtype) : 2 * lanes(dtype)].any()
    assert x[: lanes(dtype)].any()


def test_vectors_compute_the_bits_of_scalars(dtype, rng):
    x = numbers(rng, 9 * lanes(dtype), dtype) * dtype.type(3)
    y = np.empty_like(x)
    run_tanh(x.size, x, 0, y)

    @jit
    def loop(y, x):
        for i in range(x.size):
            y[i] = tanh(x[i])

    expected = np.empty_like(x)
    loop(expected, x)
    np.testing.assert_array_equal(y, expected)


@jit_only
def test_pass_is_emitted_as_vectors(dtype):
    @jit
    def kernel(x, constants):
        LEAKY(x.size, x, 0, x, 0, constants, 0)

    began = time.perf_counter()
    kernel(np.zeros(2 * lanes(dtype), dtype), np.ones(1, dtype))
    print(f"compiled in {1e3 * (time.perf_counter() - began):.0f} ms")
    vector = f"<{REGISTER_BYTES // dtype.itemsize} x {'float' if dtype == np.float32 else 'double'}>"
    code = kernel.inspect_llvm(kernel.signatures[0])
    assert f"load {vector}" in code
    assert f"store {vector}" in code
    assert f"fmul {vector}" in code


@jit_only
def test_pass_in_place_stores_whole_vectors(dtype, rng):
    @jit
    def kernel(size, y, d):
        GATE(size, y, 0, d, 0, d, 0, d, 0)

    y, d = numbers(rng, 4 * lanes(dtype), dtype), numbers(rng, 4 * lanes(dtype), dtype)
    expected = np.where(y > 0, d, 0)
    kernel(y.size, y, d)
    assert_same_bits(d, expected)
    assert masked_stores(kernel) == 0


def test_instructions_tell_formulas_apart_by_what_they_compute():
    def scale(factor):
        return lambda x: factor * x

    def instructions(formula, dtype=F32, **counts):
        return lines_pass(formula, 1, **counts).instructions(dtype)

    assert instructions(scale(2)) == instructions(scale(2)) == instructions(lambda x: 2.0 * x)
    others = [scale(2), scale(3), lambda x: x * x, tanh, relu]
    texts = {instructions(formula) for formula in others} | {instructions(scale(2), F64)}
    assert len(texts | {instructions(leaky, constants=1)}) == len(others) + 2


@jit_only
def test_pass_rejects_other_arrays():
    x = np.ones(32, np.float32)
    fixed = x.copy()
    fixed.flags.writeable = False
    for source, target in ((x, x.astype(np.float64)), (x, x.reshape(2, 16)), (x[::2], x), (x.astype(int), x)):
        with pytest.raises(numba.TypingError):
            run_relu(16, source, 0, target, 0)
    run_relu(16, fixed, 0, x, 0)


def test_pass_rejects_another_number_of_arguments():
    with pytest.raises(TypeError, match="takes 7 arguments, size, in0, at_in0, out0, at_out0, c, at_c; got 3"):
        run_wrong_number_of_arguments(16, np.ones(16))


def test_pass_rejects_a_formula_with_another_number_of_outputs():
    run = lines_pass(lambda x: (x, x), 1)

    @jit
    def kernel(x):
        run(x.size, x, 0, x, 0, x, 0)

    with pytest.raises(TypeError, match="is to give 1 numbers; got 2"):
        kernel(np.zeros(16, np.float32))


def test_formula_may_use_weak_numbers_and_elementary_functions(dtype, rng):
    run = lines_pass(lambda x, c: muladd(0.5, exp(x), c) - 1 / (1 + x * x), 1, constants=1)

    @jit
    def kernel(x, y, c):
        run(x.size, x, 0, y, 0, c, 0)

    x = rng.standard_normal(4 * lanes(dtype)).astype(dtype)
    y = np.empty_like(x)
    kernel(x, y, np.array([3], dtype))
    exact = x.astype(np.float64)
    exact = 0.5 * np.exp(exact) + 3 - 1 / (1 + exact * exact)
    assert (np.abs(y - exact) <= 4 * np.finfo(dtype).eps * (np.abs(exact) + 3)).all()
