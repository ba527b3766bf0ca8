"""The bounds that elementary.py states, measured against mpmath over the whole range."""

from __future__ import annotations

import llvmlite.binding
import mpmath
import numpy as np
import pytest
from helpers import JIT, assert_same_bits, jit, jit_only, run_python, small

from fastmlp.kernels import elementary

# In units in the last place: the table of elementary.py.
BOUNDS = {
    "exp": (1.1, 1.1),
    "expm1": (1.6, 1.9),
    "log": (0.9, 0.9),
    "log1p": (1.4, 1.4),
    "tanh": (1.9, 2.0),
    "sigmoid": (1.7, 1.8),
    "erf": (1.2, 1.2),
    "sqrt": (0.5, 0.5),
    "normal_pdf": (2.2, 2.2),
    "normal_cdf": (7, 8),
}
if not JIT:  # plain Python rounds a * b + c twice
    BOUNDS = {name: (1.5 * single, 1.5 * double) for name, (single, double) in BOUNDS.items()}

ODD = ["tanh", "erf"]
POINTS = 2000


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
    if name == "sigmoid":
        return 1 / (1 + mpmath.exp(-x))
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


@pytest.mark.parametrize("name", BOUNDS)
def test_function_is_within_its_stated_bound(name, dtype, rng):
    x = points(dtype, rng)
    x = {"log": np.abs(x), "sqrt": np.abs(x), "log1p": x[x > -1]}.get(name, x)
    assert x.size > 2.5 * POINTS
    y = LOOPS[name](x)
    assert y.dtype == dtype
    worst, where = 0.0, None
    largest = mpmath.mpf(float(np.finfo(dtype).max))
    with mpmath.workprec(120):
        for given, got in zip(x, y):
            exact = reference(name, given)
            if exact >= largest:  # rounds to infinity, or to the largest number where it is just beyond
                assert got in (np.inf, np.finfo(dtype).max), given
                continue
            error = float(abs(mpmath.mpf(float(got)) - exact) / unit(exact, dtype)) if exact else abs(float(got))
            if not error <= worst:
                worst, where = error, given
    print(f"{name} {dtype}: {worst:.2f} ulp at {where!r}")
    assert worst <= BOUNDS[name][dtype == np.float64], f"{worst} ulp at {where!r}"


INF, NAN, PEAK = np.inf, np.nan, 1 / np.sqrt(2 * np.pi)


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("exp", [0, -0.0, INF, -INF, NAN, 1e4, -1e4], [1, 1, INF, 0, NAN, INF, 0]),
        ("expm1", [0, -0.0, INF, -INF, NAN, 1e4, -1e4], [0, -0.0, INF, -1, NAN, INF, -1]),
        ("log", [1, 0, -0.0, INF, -1, -INF, NAN, -1e-40], [0, -INF, -INF, INF, NAN, NAN, NAN, NAN]),
        ("log1p", [0, -0.0, -1, INF, -2, -INF, NAN], [0, -0.0, -INF, INF, NAN, NAN, NAN]),
        ("tanh", [0, -0.0, INF, -INF, NAN, 1e4, -1e4], [0, -0.0, 1, -1, NAN, 1, -1]),
        ("sigmoid", [0, -0.0, INF, -INF, NAN, 1e4, -1e4], [0.5, 0.5, 1, 0, NAN, 1, 0]),
        ("erf", [0, -0.0, INF, -INF, NAN, 1e4, -1e4], [0, -0.0, 1, -1, NAN, 1, -1]),
        ("sqrt", [0, -0.0, INF, -INF, NAN, 4, -1], [0, -0.0, INF, NAN, NAN, 2, NAN]),
        ("normal_cdf", [0, -0.0, INF, -INF, NAN, 1e4, -1e4], [0.5, 0.5, 1, 0, NAN, 1, 0]),
        ("normal_pdf", [0, -0.0, INF, -INF, NAN, 1e4, -1e4], [PEAK, PEAK, 0, 0, NAN, 0, 0]),
    ],
)
def test_function_of_special_values(name, x, y, dtype):
    result, expected = LOOPS[name](np.array(x, dtype)), np.array(y, dtype)
    np.testing.assert_array_equal(result, expected)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(result[numbers]), np.signbit(expected[numbers]))


@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh"])
def test_function_of_a_tiny_number_is_that_number(name, dtype, rng):
    info = np.finfo(dtype)
    x = 2 ** rng.uniform(info.minexp - info.nmant, -info.nmant - 3, POINTS)
    x = np.concatenate([x, -x]).astype(dtype)
    assert (np.abs(x) < info.tiny).any()
    assert_same_bits(LOOPS[name](x), x)


@pytest.mark.parametrize("name", ODD)
def test_function_is_odd_and_at_most_one(name, dtype, rng):
    x = rng.uniform(-25, 25, POINTS).astype(dtype)
    y = LOOPS[name](x)
    assert_same_bits(y, -LOOPS[name](-x))
    assert np.abs(y).max() == 1


def test_sigmoid_lies_between_0_and_1(dtype, rng):
    y = LOOPS["sigmoid"](points(dtype, rng))
    assert y.min() == 0
    assert y.max() == 1


@pytest.mark.parametrize("name", BOUNDS)
def test_function_of_a_number_does_not_depend_on_its_place(name, dtype, rng):
    """The vectorised body of the loop and its tail round alike."""
    x = np.concatenate([rng.uniform(-30, 30, 60), [0, -0.0, INF, -INF, NAN, 1e-30, -1e30]]).astype(dtype)
    together = LOOPS[name](x)
    for first in range(0, x.size, small(1, 13)):
        np.testing.assert_array_equal(LOOPS[name](x[first : first + 1]), together[first : first + 1])
        np.testing.assert_array_equal(LOOPS[name](x[first:]), together[first:])


@jit_only
@pytest.mark.skipif(not llvmlite.binding.get_host_cpu_features().get("fma"), reason="needs an x86 with fused multiply-adds")
def test_functions_do_not_depend_on_the_processor(monkeypatch, rng):
    """The same bits by this processor's widest vectors and by those of a plain one."""
    code = """
import sys, hashlib, numba, numpy as np
from fastmlp.kernels import elementary
from fastmlp.kernels.compiler.jit import FLAGS
digest, x = hashlib.sha256(), np.random.default_rng(0).normal(0, 5, 4001)
for name in sys.argv[1:]:
    function = getattr(elementary, name)
    @numba.njit(**FLAGS)
    def loop(y, x):
        for i in range(x.size):
            y[i] = function(x[i])
    for dtype in (np.float32, np.float64):
        y = abs(x).astype(dtype)
        loop(y, y.copy())
        digest.update(y.tobytes())
print(digest.hexdigest(), any("zmm" in line for line in loop.inspect_asm(loop.signatures[0]).splitlines()))
"""
    for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"):
        monkeypatch.delenv(name, raising=False)
    here = run_python(code, *BOUNDS).split()
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+fma,+avx")
    there = run_python(code, *BOUNDS).split()
    assert there == [here[0], "False"]
