"""The bounds that elementary.py states, measured against mpmath over the whole range."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from helpers import jit, small

from fastmlp.kernels import elementary

# In units in the last place: the table of elementary.py.
BOUNDS = {"exp": (2, 1), "log": (1, 1), "tanh": (2, 2), "sigmoid": (3, 3)}

POINTS = small(3000, 1000)


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
    return getattr(mpmath, name)(x)


def points(name, dtype, rng):
    """All magnitudes alike, the middle of the range more densely, and what lies about each change of method."""
    info = np.finfo(dtype)
    exponents = rng.uniform(info.minexp - info.nmant, info.maxexp - 1e-3, POINTS)
    everywhere = 2**exponents
    middle = rng.uniform(-20, 20, POINTS)
    # Beyond these the result is 0, 1 or infinite for certain.
    largest = -np.log(float(info.smallest_subnormal)) + 1
    wide = rng.uniform(-largest, largest, POINTS)
    edges = [0.625, 1, 0.5, 2, np.sqrt(0.5), np.sqrt(2), np.log(2) / 2, 88.722, 709.782, float(info.tiny), float(info.max)]
    with np.errstate(over="ignore"):
        near = np.concatenate([np.asarray(edges) * (1 + k * float(info.eps)) for k in (-2, -1, 0, 1, -3e6)])
        x = np.concatenate([everywhere, -everywhere[::2], middle, wide, near, -near]).astype(dtype)
    x = np.abs(x) if name == "log" else x
    return x[np.isfinite(x) & (x != 0)]


@pytest.mark.parametrize("name", BOUNDS)
def test_function_is_within_its_stated_bound(name, dtype, rng):
    x = points(name, dtype, rng)
    assert x.size > 2 * POINTS
    y = LOOPS[name](x)
    assert y.dtype == dtype
    worst, where = 0.0, None
    largest = mpmath.mpf(float(np.finfo(dtype).max))
    with mpmath.workprec(100):
        for given, got in zip(x, y):
            exact = reference(name, given)
            if abs(exact) >= largest:  # rounds to infinity, or to the largest number where it is just beyond
                assert got in (np.copysign(np.inf, float(mpmath.sign(exact))), np.finfo(dtype).max), given
                continue
            with np.errstate(under="ignore"):
                unit = abs(np.spacing(dtype.type(float(exact))))
            error = float(abs(mpmath.mpf(float(got)) - exact) / mpmath.mpf(float(unit)))
            if not error <= worst:
                worst, where = error, given
    assert worst <= BOUNDS[name][dtype == np.float64], f"{worst} ulp at {where!r}"


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("exp", [0, -0.0, np.inf, -np.inf, np.nan, 1e4, -1e4], [1, 1, np.inf, 0, np.nan, np.inf, 0]),
        ("log", [1, 0, -0.0, np.inf, -1, -np.inf, np.nan], [0, -np.inf, -np.inf, np.inf, np.nan, np.nan, np.nan]),
        ("tanh", [0, -0.0, np.inf, -np.inf, np.nan, 1e4, -1e4], [0, -0.0, 1, -1, np.nan, 1, -1]),
        ("sigmoid", [0, -0.0, np.inf, -np.inf, np.nan, 1e4, -1e4], [0.5, 0.5, 1, 0, np.nan, 1, 0]),
    ],
)
def test_function_of_special_values(name, x, y, dtype):
    result = LOOPS[name](np.array(x, dtype))
    np.testing.assert_array_equal(result, np.array(y, dtype))


def test_tanh_is_odd_and_at_most_one(dtype, rng):
    x = rng.uniform(-25, 25, POINTS).astype(dtype)
    y = LOOPS["tanh"](x)
    np.testing.assert_array_equal(y, -LOOPS["tanh"](-x))
    assert np.abs(y).max() <= 1


@pytest.mark.parametrize("name", BOUNDS)
def test_function_of_a_number_does_not_depend_on_its_place(name, dtype, rng):
    """The vectorised body of the loop and its tail round alike."""
    x = np.abs(rng.uniform(-30, 30, 67)).astype(dtype)
    together = LOOPS[name](x)
    alone = np.concatenate([LOOPS[name](x[i : i + 1]) for i in range(x.size)])
    np.testing.assert_array_equal(together, alone)
