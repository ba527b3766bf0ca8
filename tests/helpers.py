"""What the tests share: awkward shapes, small nets, slow references, and the hand-written training loop."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numba
import numpy as np
import pytest

import fastmlp as fm
from fastmlp.kernels.blocks.linear import Linear as LinearOp
from fastmlp.kernels.compiler.jit import FLAGS
from fastmlp.kernels.engine import run
from fastmlp.kernels.layout import row_stride
from fastmlp.kernels.layout import zeros as aligned_zeros
from fastmlp.kernels.shuffle import epoch_order
from fastmlp.kernels.threads import ABORT
from fastmlp.program import Program

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


def masked_stores(function):
    """How many instructions of a compiled function store under a mask: vmaskmov of AVX2, and AVX-512's ``{%k1}``."""
    code = "\n".join(function.inspect_asm().values())
    return len(re.findall(r"v\w*maskmov\w*\s+%\w+, %\w+, [^%\n]*\(|\) \{%k", code))


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


def share_of(criterion, y, weights=None):
    """How much the loss of a batch counts in that of an epoch; the criterion is ours or PyTorch's."""
    if criterion.reduction == "sum":
        return 1.0
    counts = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
    ignored, of_classes = getattr(criterion, "ignore_index", None), getattr(criterion, "weight", None)
    if y.ndim == 1 and ignored is not None:
        counts = counts * (y != ignored)
        if of_classes is not None:
            counts = counts * np.asarray(of_classes)[np.where(y == ignored, 0, y)]
    return float(counts.sum())


LOSSES = {"cross_entropy": fm.CrossEntropyLoss, "mse": fm.MSELoss}


def eager_train(
    model,
    criterion,
    optimizer,
    X,
    y,
    *,
    epochs,
    batch_size,
    rng=0,
    shuffle=True,
    schedule=None,
    first_epoch=0,
    steps=None,
    sample_weight=None,
):
    """The loop a user would write, with the order of rows that `fit` has for the same `rng`. Returns the epochs' losses."""
    seed = int(np.random.default_rng(rng).integers(2**62))
    order, losses = np.arange(len(X)), []
    for epoch in range(first_epoch, epochs):
        if shuffle:
            epoch_order(order, seed, epoch)
        total = counted = 0.0
        for first in range(0, len(X), batch_size):
            if steps is not None and steps <= 0:
                return losses
            rows = order[first : first + batch_size]
            weights = () if sample_weight is None else (sample_weight[rows],)
            loss, share = criterion(model(X[rows]), y[rows], *weights), share_of(criterion, y[rows], *weights)
            total += loss * share if share else 0.0  # a mean over nothing is NaN
            counted += share
            optimizer.zero_grad()
            model.backward(criterion.backward())
            optimizer.step()
            steps = None if steps is None else steps - 1
        losses.append(total if criterion.reduction == "sum" else total / counted)
        if schedule is not None:
            schedule.step(*losses[-1:] * schedule.takes_metric)
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
    """The flat vector holds nothing but the parameters and buffers."""
    for flat in (model.storage.data, model.storage.grad):
        rest = flat.copy()
        for parameter in (*model.parameters(), *model.buffers()):
            parameter.view_of(rest)[...] = 0
        assert not rest.any()


# One block by itself: a program of a few ops, gone through by the engine.


class Ran:
    """A job after the engine has gone through it, and what came out: `y`, `dx`, `grads`, `losses`, `params`, ..."""

    def __init__(self, program, job, **results):
        self.program, self.job = program, job
        self.__dict__.update(results)

    def rows_at(self, offset, width, rows):
        """A matrix in the workspace, padding included."""
        stride = row_stride(width, self.job.work.dtype)
        return self.job.work[offset : offset + rows * stride].reshape(rows, stride)


def in_threads(work, threads):
    """``work(thread)`` in so many threads at once, each of which is to end."""
    if threads == 1:
        work(0)
        return
    failed = []

    def noting(thread):
        try:
            work(thread)
        except BaseException as error:
            failed.append(error)

    helpers = [threading.Thread(target=noting, args=(i,), daemon=True) for i in range(threads)]
    for helper in helpers:
        helper.start()
    for helper in helpers:
        helper.join(60)
        assert not helper.is_alive()
    assert not failed, failed


class ThreadTimes:
    """What the system says of how long each thread of this process has run."""

    TASKS = Path("/proc/self/task")
    there = (TASKS / str(threading.get_native_id()) / "schedstat").exists()

    def __init__(self):
        self._before = self._seconds()
        deadline = time.perf_counter() + 20
        while self.busy(0.0) and time.perf_counter() < deadline:  # threads of a BLAS spin for a while before they sleep
            time.sleep(0.01)

    def _seconds(self):
        seconds = {}
        for task in self.TASKS.iterdir():
            with suppress(OSError):  # it has just ended
                seconds[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
        return seconds

    def busy(self, part=0.1):
        """Other threads that have run for such a part of this one's time, and 0.2 ms: one that waits for work spins for 0.1."""
        before, self._before = self._before, self._seconds()
        ran = {task: seconds - before.get(task, 0.0) for task, seconds in self._before.items()}
        least = max(0.0002, part * ran.pop(threading.get_native_id()))
        return sum(seconds > least for seconds in ran.values())

    def taking_part(self, call, expected):
        """How many take part in a call; again until as many do as are expected.

        Fewer may, where cores are busy elsewhere; and more, where a thread has not come back to those that wait before the next
        steps are taken, so that another one comes in its place.
        """
        for _ in range(50):
            call()
            seen = self.busy()
            if seen == expected:
                break
        return seen


def run_job(job, x, y, *, number=0, threads=1):
    """Go through a pass as so many threads."""
    job.control[:] = 0
    in_threads(lambda thread: run(job.handle, number, x, y, thread, threads), threads)


def wait_until_called_off(job, x, thread):
    """Take part in a run as one of two threads, of which the other never comes: this one waits, and leaves when called off."""
    job.control[:] = 0
    waiting = threading.Thread(target=run, args=(job.handle, 0, x, x, thread, 2), daemon=True)
    waiting.start()
    time.sleep(0.05)
    assert waiting.is_alive(), "it did not wait for the other thread"
    job.control[ABORT] = 1
    waiting.join(20)
    assert not waiting.is_alive()


def kept_job(program, dtype, **arrays):
    """The job of a program, with empty arrays where none are given."""
    job = program.job()
    missing = {name: aligned_zeros(0, dtype) for name in ("params", "grads", "state", "scalars") if name not in arrays}
    whole = {"order": np.zeros(1, np.int64), "labels": np.zeros(1, np.int64), "weights": np.ones(1, dtype)}
    job.set(**missing, **(whole | arrays))
    return job


def ran_both_ways(ops, x, dy, params=None, grads=None):
    """Forward and back through ops: `y`, `dx`, and `grads`, which the way back adds to."""
    program = Program.both_ways(ops, x.dtype, batch=len(x))
    arrays = {} if params is None else {"params": params, "grads": np.zeros_like(params) if grads is None else grads}
    job = kept_job(program, x.dtype, **arrays)
    y, dx = np.full((len(x), dy.shape[1]), np.nan, x.dtype), np.full_like(x, np.nan)
    run_job(job, x, y)
    run_job(job, dx, dy.copy(), number=1)
    return Ran(program, job, y=y, dx=dx, grads=job.grads)


def ran_predicting(ops, x, width_out, params=None, *, threads=1, narrow=None):
    """Forward without keeping anything; `narrow` forbids or forces rows along the vectors."""
    program = Program.predicting(ops, x.dtype, threads=threads)
    job = kept_job(program, x.dtype, **({} if params is None else {"params": params}))
    if narrow is not None:
        phase = job.phases[0]
        assert not narrow or phase.other_last > phase.other_first
        phase.lane_cost, phase.row_cost = (1, 1000) if narrow else (0, 0)
    y = np.full((len(x), width_out), np.nan, x.dtype)
    run_job(job, x, y, threads=threads)
    return Ran(program, job, y=y)


def ran_loss(op, out, y, weights=None):
    """The `losses` of the rows, their `total`, and the gradient `dout`, asked for twice; `y` are targets, or labels, flat."""
    program = Program.of_loss(op, out.dtype, batch=len(out))
    labels = y.ndim == 1
    arrays = ({"labels": y} if labels else {}) | ({} if weights is None else {"weights": weights})
    job = kept_job(program, out.dtype, **arrays)
    dout = np.full_like(out, np.nan)
    run_job(job, out, out if labels else y)
    run_job(job, dout, dout, number=1)
    again = np.full_like(out, np.nan)
    run_job(job, again, again, number=2)
    assert_same_bits(again, dout)
    losses = job.work[job.run.losses : job.run.losses + len(out)].copy()
    return Ran(program, job, losses=losses, total=job.sums.item(), dout=dout)


def ran_updates(ops, params, grads, state=(), scalars=()):
    """A step of the optimizer: new `params`, and arrays of `state`."""
    dtype = params.dtype
    job = kept_job(
        Program.of_updates(ops, dtype),
        dtype,
        params=params.copy(),
        grads=grads,
        state=np.concatenate([np.zeros(0, dtype), *state]),
        scalars=np.array(scalars, dtype),
    )
    job.run.params = params.size
    nowhere = np.zeros((1, 1), dtype)
    run_job(job, nowhere, nowhere)
    return Ran(job.program, job, params=job.params, state=job.state.reshape(len(state), params.size))


def linear_op(weight, bias=None, *, gap=None):
    """A Linear op for a weight (I, O), and the flat parameters: the bias right behind the weight, or `gap` lines further."""
    width_in, width_out = weight.shape
    stride, line = row_stride(width_out, weight.dtype), lanes(weight.dtype)
    place = (width_in * stride + (gap or 0) * line) if bias is not None else -1
    flat = aligned_zeros(max(width_in * stride, place + stride), weight.dtype)
    flat[: width_in * stride].reshape(width_in, stride)[:, :width_out] = weight
    if bias is not None:
        flat[place : place + width_out] = bias
    return LinearOp(width_in, width_out, 0, place), flat


def linear_parts(op, flat):
    """Weight and bias (padding included) of :func:`linear_op`, or what lies in their places; views."""
    stride = row_stride(op.width_out, flat.dtype)
    bias = flat[op.bias : op.bias + stride] if op.bias >= 0 else None
    return flat[: op.width_in * stride].reshape(op.width_in, stride), bias


def run_python(code, *arguments, jit=None, timeout=240):
    """Run a program in a fresh interpreter; what it wrote to standard output."""
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    if jit is not None:
        environment["NUMBA_DISABLE_JIT"] = "0" if jit else "1"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=timeout, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout
