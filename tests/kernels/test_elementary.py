"""The bounds that elementary.py states, measured against mpmath over the whole range."""

from __future__ import annotations

import hashlib
from pathlib import Path

import llvmlite.binding
import mpmath
import numpy as np
import pytest
from helpers import JIT, jit, jit_only, run_python, small

from fastmlp.kernels import elementary

# In units in the last place: the table of elementary.py.
BOUNDS = {
    "exp": (1.1, 1.1),
    "expm1": (1.6, 1.9),
    "log": (0.9, 0.9),
    "log1p": (1.4, 1.4),
    "tanh": (1.9, 2.0),
    "sigmoid": (1.7, 1.8),
    "softplus": (1.9, 2.0),
    "sigmoid_beside_softplus": (2.9, 3.1),
    "erf": (1.2, 1.2),
    "sqrt": (0.5, 0.5),
    "normal_pdf": (2.2, 2.2),
    "normal_cdf": (7, 8),
}
if not JIT:  # plain Python rounds a * b + c twice
    BOUNDS = {name: (1.5 * single, 1.5 * double) for name, (single, double) in BOUNDS.items()}

POINTS = small(1000, 300)  # of each kind


def compiled(name):
    function = getattr(elementary, name)

    @jit
    def loop(y, x):
        for i in range(x.size):
            y[i] = function(x[i])

    def call(x):
        y = np.empty_like(x)
        loop(y, x)
        return y

    return call


LOOPS = {name: compiled(name) for name in BOUNDS}


def reference(name, x):
    x = mpmath.mpf(float(x))
    if name in ("sigmoid", "sigmoid_beside_softplus"):
        return 1 / (1 + mpmath.exp(-x))
    if name == "softplus":
        return max(x, 0) + mpmath.log1p(mpmath.exp(-abs(x)))
    if name == "normal_cdf":
        return mpmath.erfc(-x / mpmath.sqrt(2)) / 2 if abs(x) < 100 else mpmath.mpf(x > 0)
    if name == "normal_pdf":
        return mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi)
    return getattr(mpmath, name)(x)


def critical(dtype):
    """Where a method or a reduction changes, where a result overflows or underflows, where numbers become subnormal."""
    info = np.finfo(dtype)
    largest, tiny, subnormal = (float(x) for x in (info.max, info.tiny, info.smallest_subnormal))
    halves = np.arange(0.5, 4) * np.log(2)  # reduction of exp
    thirteenths = (np.arange(4) + 13 / 16) * np.log(2) / 2  # reduction of tanh
    roots = np.sqrt(0.5) * 2.0 ** np.arange(-2, 4)  # reduction of log, and, less 1, of log1p
    ends = [np.log(largest), -np.log(tiny), -np.log(subnormal), -np.log(subnormal) + np.log(2), largest, tiny, subnormal]
    ones = [0.9375, 1, 2, float(info.eps), float(info.epsneg), 2.0**info.nmant, 1 / float(info.eps), 2.0**60]
    flat = [3.95, 5.95, 9.1, 19.1]  # erf and tanh become 1
    points = np.concatenate([halves, thirteenths, roots, roots - 1, ends, ones, flat])
    return np.concatenate([points, -points])


def points(dtype, rng):
    """All exponents alike, the middle of the range more densely, and every neighbour of a critical point."""
    integers = np.dtype(f"u{dtype.itemsize}")
    everywhere = rng.integers(0, np.iinfo(integers).max, POINTS, dtype=integers, endpoint=True).view(dtype)
    largest = -np.log(float(np.finfo(dtype).smallest_subnormal)) + 1  # beyond, results are trivial, save of log and log1p
    spread = [rng.uniform(-limit, limit, POINTS).astype(dtype) for limit in (largest, 20, 2)]
    near = critical(dtype).astype(dtype)
    with np.errstate(over="ignore"):
        below, above = np.nextafter(near, -np.inf, dtype=dtype), np.nextafter(near, np.inf, dtype=dtype)
    x = np.concatenate([everywhere, *spread, near, below, above])
    return x[np.isfinite(x) & (x != 0)]


def unit(exact, dtype):
    """The unit in the last place of a number that is not rounded yet."""
    info = np.finfo(dtype)
    exponent = int(mpmath.frexp(exact)[1]) - 1
    return mpmath.mpf(2) ** max(exponent - info.nmant, info.minexp - info.nmant)


def test_functions_are_within_their_stated_bounds(dtype, rng):
    everywhere = points(dtype, rng)
    largest = mpmath.mpf(float(np.finfo(dtype).max))
    for name, bounds in BOUNDS.items():
        x = {"log": np.abs(everywhere), "sqrt": np.abs(everywhere), "log1p": everywhere[everywhere > -1]}.get(name, everywhere)
        assert x.size > 2.5 * POINTS
        y = LOOPS[name](x)
        assert y.dtype == dtype
        worst, where = 0.0, None
        with mpmath.workprec(120):
            for given, got in zip(x, y):
                exact = reference(name, given)
                if exact >= largest:  # rounds to infinity, or to the largest number where it is just beyond
                    assert got in (np.inf, np.finfo(dtype).max), f"{name} of {given!r}"
                    continue
                error = float(abs(mpmath.mpf(float(got)) - exact) / unit(exact, dtype)) if exact else abs(float(got))
                if not error <= worst:
                    worst, where = error, given
        print(f"{name} {dtype}: {worst:.2f} ulp at {where!r}")
        assert worst <= bounds[dtype == np.float64], f"{name}: {worst} ulp at {where!r}"


INF, NAN, PEAK = np.inf, np.nan, 1 / np.sqrt(2 * np.pi)

SPECIAL = {
    "exp": ([0, -0.0, INF, -INF, NAN, 1e4, -1e4], [1, 1, INF, 0, NAN, INF, 0]),
    "expm1": ([0, -0.0, INF, -INF, NAN, 1e4, -1e4], [0, -0.0, INF, -1, NAN, INF, -1]),
    "log": ([1, 0, -0.0, INF, -1, -INF, NAN, -1e-40], [0, -INF, -INF, INF, NAN, NAN, NAN, NAN]),
    "log1p": ([0, -0.0, -1, INF, -2, -INF, NAN], [0, -0.0, -INF, INF, NAN, NAN, NAN]),
    "tanh": ([0, -0.0, INF, -INF, NAN, 1e4, -1e4], [0, -0.0, 1, -1, NAN, 1, -1]),
    "sigmoid": ([0, -0.0, INF, -INF, NAN, 1e4, -1e4], [0.5, 0.5, 1, 0, NAN, 1, 0]),
    "softplus": ([0, -0.0, INF, -INF, NAN, 1e4, -1e4], [np.log(2), np.log(2), INF, 0, NAN, 1e4, 0]),
    "sigmoid_beside_softplus": ([0, -0.0, INF, -INF, NAN, 1e4, -1e4], [0.5, 0.5, 1, 0, NAN, 1, 0]),
    "erf": ([0, -0.0, INF, -INF, NAN, 1e4, -1e4], [0, -0.0, 1, -1, NAN, 1, -1]),
    "sqrt": ([0, -0.0, INF, -INF, NAN, 4, -1], [0, -0.0, INF, NAN, NAN, 2, NAN]),
    "normal_cdf": ([0, -0.0, INF, -INF, NAN, 1e4, -1e4], [0.5, 0.5, 1, 0, NAN, 1, 0]),
    "normal_pdf": ([0, -0.0, INF, -INF, NAN, 1e4, -1e4], [PEAK, PEAK, 0, 0, NAN, 0, 0]),
}


def test_functions_of_special_values(dtype):
    assert SPECIAL.keys() == BOUNDS.keys()
    for name, (x, y) in SPECIAL.items():
        result, expected = LOOPS[name](np.array(x, dtype)), np.array(y, dtype)
        np.testing.assert_array_equal(result, expected, err_msg=name)
        numbers = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(result[numbers]), np.signbit(expected[numbers]), err_msg=name)


def test_functions_of_a_tiny_number_are_that_number(dtype, rng):
    info = np.finfo(dtype)
    x = 2 ** rng.uniform(info.minexp - info.nmant, -info.nmant - 3, POINTS)
    x = np.concatenate([x, -x]).astype(dtype)
    assert (np.abs(x) < info.tiny).any()
    for name in ("expm1", "log1p", "tanh"):
        np.testing.assert_array_equal(LOOPS[name](x).view(np.uint8), x.view(np.uint8), err_msg=name)


def test_functions_are_odd_and_at_most_one(dtype, rng):
    x = rng.uniform(-25, 25, POINTS).astype(dtype)
    for name in ("tanh", "erf"):
        y, of_negative = LOOPS[name](x), -LOOPS[name](-x)
        np.testing.assert_array_equal(y.view(np.uint8), of_negative.view(np.uint8), err_msg=name)
        assert np.abs(y).max() == 1, name


def test_sigmoid_lies_between_0_and_1(dtype, rng):
    for name in ("sigmoid", "sigmoid_beside_softplus"):
        y = LOOPS[name](points(dtype, rng))
        assert y.min() == 0
        assert y.max() == 1


def test_functions_of_a_number_do_not_depend_on_its_place(dtype, rng):
    """The vectorised body of the loop and its tail round alike."""
    x = np.concatenate([rng.uniform(-30, 30, 60), [0, -0.0, INF, -INF, NAN, 1e-30, -1e30]]).astype(dtype)
    for name, loop in LOOPS.items():
        together = loop(x)
        for first in range(0, x.size, small(1, 13)):
            where = f"{name} from {first} on"
            np.testing.assert_array_equal(loop(x[first : first + 1]), together[first : first + 1], err_msg=where)
            np.testing.assert_array_equal(loop(x[first:]), together[first:], err_msg=where)


@jit
def all_functions(y, x):
    """All of BOUNDS, in one function, which is compiled faster than one for each."""
    for i in range(x.size):
        y[0, i] = elementary.exp(x[i])
    for i in range(x.size):
        y[1, i] = elementary.expm1(x[i])
    for i in range(x.size):
        y[2, i] = elementary.log(x[i])
    for i in range(x.size):
        y[3, i] = elementary.log1p(x[i])
    for i in range(x.size):
        y[4, i] = elementary.tanh(x[i])
    for i in range(x.size):
        y[5, i] = elementary.sigmoid(x[i])
    for i in range(x.size):
        y[6, i] = elementary.erf(x[i])
    for i in range(x.size):
        y[7, i] = elementary.sqrt(x[i])
    for i in range(x.size):
        y[8, i] = elementary.normal_pdf(x[i])
    for i in range(x.size):
        y[9, i] = elementary.normal_cdf(x[i])
    for i in range(x.size):
        y[10, i] = elementary.softplus(x[i])
    for i in range(x.size):
        y[11, i] = elementary.sigmoid_beside_softplus(x[i])


def bits_of_all_functions():
    """A hash of what they make of 4001 positive numbers, and whether that took 512-bit registers."""
    digest, x = hashlib.sha256(), np.abs(np.random.default_rng(0).normal(0, 5, 4001))
    for dtype in (np.float32, np.float64):
        y = np.zeros((len(BOUNDS), x.size), dtype)
        all_functions(y, x.astype(dtype))
        assert y.any(axis=1).all()
        digest.update(y.tobytes())
    return [digest.hexdigest(), str("zmm" in all_functions.inspect_asm(all_functions.signatures[0]))]


@jit_only
@pytest.mark.once  # it compares two processors itself
@pytest.mark.skipif(not llvmlite.binding.get_host_cpu_features().get("fma"), reason="needs an x86 with fused multiply-adds")
def test_functions_do_not_depend_on_the_processor(monkeypatch):
    """The same bits by this processor's widest vectors and by those of a plain one."""
    here = bits_of_all_functions()
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+fma,+avx")
    code = """
import sys
sys.path[:0] = sys.argv[1:]
import test_elementary
print(*test_elementary.bits_of_all_functions())
"""
    folder = Path(__file__).parent
    assert run_python(code, folder, folder.parent).split() == [here[0], "False"]
