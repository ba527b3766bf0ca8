"""What the tests share: awkward shapes, small nets, slow references, and the hand-written training loop."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise

import numba
import numpy as np
import pytest

import fastmlp as fm
from fastmlp.kernels.compiler.jit import FLAGS
from fastmlp.kernels.shuffle import epoch_order

JIT = not numba.config.DISABLE_JIT

#: As plain Python these take minutes, or compare machine code with plain Python.
jit_only = pytest.mark.skipif(not JIT, reason="as plain Python this takes minutes")

DTYPES = [np.float32, np.float64]

# 1, a prime, and one below and one above each edge of the tiles and of the lines.
ROWS = [1, 2, 7, 8, 9, 17]
COLUMNS = [1, 3, 7, 8, 9, 15, 16, 17, 47, 48, 49, 65] if JIT else [1, 3, 8, 17]

ACTIVATIONS = {"relu": fm.ReLU, "tanh": fm.Tanh, "sigmoid": fm.Sigmoid, "identity": fm.Identity}


def small(compiled, python):
    """A size: one for machine code, one for plain Python, a thousand times slower."""
    return compiled if JIT else python


def jit(function):
    """Compile a function of a test, with the kernels' flags: `inner` functions cannot be called from Python."""
    if not JIT:
        return np.errstate(all="ignore")(function)
    return numba.njit(**FLAGS)(function)


def eps(dtype):
    return float(np.finfo(dtype).eps)


def lanes(dtype):
    return 64 // np.dtype(dtype).itemsize


def padded(array):
    """Rows padded with zeros to whole lines, written without the package."""
    width = -(-array.shape[1] // lanes(array.dtype)) * lanes(array.dtype)
    out = np.zeros((array.shape[0], width), array.dtype)
    out[:, : array.shape[1]] = array
    return out


def normal(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def assert_within(actual, expected, bound):
    """|actual - expected| <= bound, entry by entry; NaN nowhere."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    excess = np.abs(actual - expected) - bound
    assert (excess <= 0).all(), f"beyond the bound by {np.nanmax(excess)} (NaN: {np.isnan(excess).any()})"


def central_differences(function, x):
    """The gradient of a scalar function of a float64 array, which is changed and put back entry by entry."""
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        middle = x[i]
        h = np.finfo(np.float64).eps ** (1 / 3) * max(1.0, abs(middle))
        x[i] = middle + h
        above = function()
        x[i] = middle - h
        below = function()
        x[i] = middle
        gradient[i] = (above - below) / (2 * h)
    return gradient


#: Central differences are off by about eps^(2/3) times the third derivative; the nets here have that of order 10.
DIFFERENCE_BOUND = 100 * np.finfo(np.float64).eps ** (2 / 3)


def make_net(widths, activation="tanh", *, dtype=np.float32, bias=True, rng=0):
    """Linear layers of these widths with activations between."""
    modules = []
    for i, (width_in, width_out) in enumerate(pairwise(widths)):
        if i:
            modules.append(ACTIVATIONS[activation]())
        modules.append(fm.Linear(width_in, width_out, bias=bias))
    model = fm.Sequential(*modules, dtype=dtype)
    model.reset_parameters(rng=rng)
    return model


def make_data(rows, width, outputs, loss="cross_entropy", *, dtype=np.float32, rng=0):
    """Inputs with labels or targets."""
    rng = np.random.default_rng(rng)
    X = normal(rng, (rows, width), dtype)
    y = rng.integers(outputs, size=rows) if loss == "cross_entropy" else normal(rng, (rows, outputs), dtype)
    return X, y


LOSSES = {"cross_entropy": fm.CrossEntropyLoss, "mse": fm.MSELoss}


def eager_train(
    model, criterion, optimizer, X, y, *, epochs, batch_size, rng=0, shuffle=True, schedule=None, first_epoch=0, steps=None
):
    """The loop a user would write, with the order of rows that `fit` has for the same `rng`. Returns the epochs' losses."""
    seed = int(np.random.default_rng(rng).integers(2**62))
    order, losses = np.arange(len(X)), []
    for epoch in range(first_epoch, epochs):
        if shuffle:
            epoch_order(order, seed, epoch)
        total = 0.0
        for first in range(0, len(X), batch_size):
            if steps is not None and steps <= 0:
                return losses
            rows = order[first : first + batch_size]
            total += criterion(model(X[rows]), y[rows]) * len(rows)
            optimizer.zero_grad()
            model.backward(criterion.backward())
            optimizer.step()
            steps = None if steps is None else steps - 1
        losses.append(total / len(X))
        if schedule is not None:
            schedule.step()
    return losses


def flat(model):
    """A copy of all parameters, padding included."""
    return model.storage.data.copy()


def assert_same_bits(first, second):
    first, second = np.ascontiguousarray(first), np.ascontiguousarray(second)
    assert first.dtype == second.dtype
    assert first.shape == second.shape
    np.testing.assert_array_equal(first.view(np.uint8), second.view(np.uint8))


def assert_padding_is_zero(model):
    """The flat vector holds nothing but the parameters."""
    for flat in (model.storage.data, model.storage.grad):
        rest = flat.copy()
        for parameter in model.parameters():
            parameter.view_of(rest)[...] = 0
        assert not rest.any()


def run_python(code, *arguments, jit=None, timeout=240):
    """Run a program in a fresh interpreter; what it wrote to standard output."""
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    if jit is not None:
        environment["NUMBA_DISABLE_JIT"] = "0" if jit else "1"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=timeout, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout
