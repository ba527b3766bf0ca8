"""A Predictor in compiled code: wherever a user may have it, in threads and processes, and what is refused there."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import threading
import time

import numba
import numpy as np
import pytest
from helpers import JIT, assert_same_bits, jit_only, make_net, normal, run_python, small
from numba.typed import List
from predictor.nets import at_once, by_rows, in_parallel

import fastmlp as fm


@pytest.fixture
def case(dtype):
    """A Predictor, rows, and the outputs for them."""
    model = make_net([3, 17, 2], "relu", dtype=dtype)
    x = normal(np.random.default_rng(0), (9, 3), dtype)
    return fm.compiled(model), x, model.predict(x)


@numba.njit
def allocating(p, x):
    return p.predict(x), p.predict(x[0])


@numba.njit
def attributes(p):
    out = np.zeros(p.outputs, p.dtype)
    return p.inputs, p.outputs, p.address, p.header[0], p.header[1], out, p


@numba.njit
def inner(p, x, out):
    return p(x, out)


@numba.njit
def nested(p, x, out):
    for n in range(len(x)):
        inner(p, x[n], out[n])


@numba.njit
def of_all(ps, x):
    total = np.zeros((len(x), 2), x.dtype)
    for p in ps:
        total += p.predict(x)
    return total


def test_attributes_and_what_allocates(case):
    p, x, expected = case
    rows, row = allocating(p, x)
    assert_same_bits(rows, expected)
    assert_same_bits(row, expected[0])
    inputs, outputs, address, first, second, out, same = attributes(p)
    assert (inputs, outputs, address, first, second) == (3, 2, p.address, 3, 2)
    assert out.dtype == p.dtype
    assert same is p


def test_as_argument_tuple_list_global_and_closure(case):
    p, x, expected = case
    out = np.empty_like(expected)
    nested(p, x, out)
    assert_same_bits(out, expected)
    assert_same_bits(of_all((p, p), x), expected + expected)
    many = List()
    many.append(p)
    many.append(fm.compiled(make_net([3, 4, 2], dtype=p.dtype), copy=True))
    gc.collect()
    assert_same_bits(of_all(many, x), expected + many[1].predict(x))
    assert many[0] is p

    @numba.njit
    def closed_over(x):
        return p.predict(x)

    assert_same_bits(closed_over(x), expected)


def test_parallel_loops(case):
    p, x, expected = case
    out = np.empty_like(expected)
    in_parallel(p, x, out)
    assert_same_bits(out, expected)


@jit_only
def test_eight_threads_at_a_time(case):
    """A hundred thousand calls each, each in one compiled loop."""
    p, x, _ = case
    x = normal(np.random.default_rng(1), (100_000, 3), p.dtype)
    expected = np.empty((len(x), 2), p.dtype)
    by_rows(p, x, expected)
    outs = [np.empty_like(expected) for _ in range(8)]
    threads = [threading.Thread(target=by_rows, args=(p, x, out)) for out in outs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for out in outs:
        assert_same_bits(out, expected)


def test_many_rows_give_the_same(case):
    p, _, _ = case
    x = normal(np.random.default_rng(1), (small(1000, 60), 3), p.dtype)
    rows, together, parallel = (np.empty((len(x), 2), p.dtype) for _ in range(3))
    by_rows(p, x, rows)
    at_once(p, x, together)
    in_parallel(p, x, parallel)
    assert_same_bits(rows, together)
    assert_same_bits(parallel, together)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_child(case):
    p, x, expected = case
    out = np.empty_like(expected)
    by_rows(p, x, out)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def in_child():
        again = np.zeros_like(expected)
        by_rows(p, x, again)
        queue.put(again.tobytes())

    child = context.Process(target=in_child)
    child.start()
    found = queue.get()
    child.join(60)
    assert child.exitcode == 0
    assert found == expected.tobytes()


USERS_MODULE = """
import numba, numpy as np
@numba.njit(cache=True)
def simulate(policy, states):
    out = np.empty((len(states), policy.outputs), policy.dtype)
    for i in range(len(states)):
        policy(states[i], out[i])
    return out
"""

USERS_PROGRAM = """
import sys; sys.path.insert(0, sys.argv[1])
import pickle, numpy as np, fastmlp as fm
from fastmlp.kernels.compiler.jit import history
from users import simulate
with open(sys.argv[1] + "/policy.pickle", "rb") as file:
    policy, other, states = pickle.load(file)
results = [simulate(p, states).tobytes().hex() for p in (policy, other)]
print(len(simulate.signatures), sum(simulate.stats.cache_hits.values()), sum(simulate.stats.cache_misses.values()))
print(sum(entry.compiled for entry in history))
print(*results)
"""


@jit_only
def test_another_process_compiles_nothing(tmp_path):
    """Nor does another architecture: there is one signature, from the cache."""
    import pickle

    (tmp_path / "users.py").write_text(USERS_MODULE)
    models = [make_net([3, 17, 2], "relu"), make_net([3, 9, 33, 4, 2])]
    states = normal(np.random.default_rng(0), (9, 3), np.float32)
    with open(tmp_path / "policy.pickle", "wb") as file:
        pickle.dump([*map(fm.compiled, models), states], file)
    expected = [model.predict(states).tobytes().hex() for model in models]
    first = run_python(USERS_PROGRAM, tmp_path).splitlines()
    second = run_python(USERS_PROGRAM, tmp_path).splitlines()
    assert first[0] == "1 0 1"
    assert second[:2] == ["1 1 0", "0"]
    assert first[2].split() == second[2].split() == expected


@jit_only
def test_another_network_compiles_nothing(case):
    p, x, _ = case
    out = np.empty((9, 2), p.dtype)
    by_rows(p, x, out)
    known = list(by_rows.signatures)
    for widths in ([3, 2], [3, 60, 61, 2]):
        by_rows(fm.compiled(make_net(widths, "sigmoid", dtype=p.dtype)), x, out)
    assert by_rows.signatures == known


@jit_only
def test_compile_time_of_a_function_with_a_network(case):
    """At most 0.7 s more than the same loop without one."""
    p, x, expected = case
    out = np.empty_like(expected)

    def without(p, x, out):
        for n in range(len(x)):
            out[n, 0] = x[n, 0]

    def with_network(p, x, out):
        for n in range(len(x)):
            p(x[n], out[n])

    def seconds(function):
        best = np.inf
        for _ in range(3):
            began = time.process_time()
            numba.njit(function)(p, x, out)
            best = min(best, time.process_time() - began)
        return best

    assert seconds(with_network) - seconds(without) < 0.7


# Allocation, life time, exceptions.


@jit_only
def test_calls_do_not_allocate(dtype):
    from numba.core.runtime import _nrt_python, rtsys

    p = fm.compiled(make_net([64, 512, 64], dtype=dtype))  # whose workspace nearly fills the stack's 32 KiB
    x, out = np.zeros((1000, 64), dtype), np.empty((1000, 64), dtype)
    by_rows(p, x[:1], out[:1])
    _nrt_python.memsys_enable_stats()
    try:
        counts = []
        for rows in (10, 1000):
            before = rtsys.get_allocation_stats().alloc
            by_rows(p, x[:rows], out[:rows])
            counts.append(rtsys.get_allocation_stats().alloc - before)
    finally:
        _nrt_python.memsys_disable_stats()
    assert counts[0] == counts[1]


@numba.njit
def until(p, x, out, stop):
    """Raises at a row, out of a loop of calls."""
    for n in range(len(x)):
        if n == stop:
            raise IndexError("stopped")
        p(x[n], out[n])


def test_a_million_calls_while_objects_come_and_go(case):
    """The collector runs, models go, calls end in exceptions: no reference is lost or kept, and the results are right."""
    p, _, _ = case
    x = normal(np.random.default_rng(2), (small(20_000, 20), 3), p.dtype)
    out, expected = np.empty((len(x), 2), p.dtype), np.empty((len(x), 2), p.dtype)
    by_rows(p, x, expected)
    before = sys.getrefcount(p)
    keeping = List()
    keeping.append(p)
    for turn in range(50):
        out[:] = 0
        passing = fm.compiled(make_net([3, 4, 2], dtype=p.dtype))  # whose model is gone already
        keeping.append(passing)
        del passing
        if turn % 2:
            with pytest.raises(IndexError, match="stopped"):
                until(p, x, out, len(x) // 2)
            with pytest.raises(ValueError, match=r"sizes|shape"):
                at_once(p, x, out[1:])
        by_rows(p, x, out)
        of_all(keeping, x[:5])
        if turn % 10 == 0:
            gc.collect()
        assert_same_bits(out, expected)
    del keeping
    gc.collect()
    if JIT:
        assert sys.getrefcount(p) == before


def test_a_rebound_global_stays_alive(dtype):
    model = make_net([3, 5, 2], dtype=dtype)
    x = normal(np.random.default_rng(0), (4, 3), dtype)
    expected = model.predict(x)
    names = {"numba": numba, "net": fm.compiled(model)}
    exec("@numba.njit\ndef f(x):\n    return net.predict(x)\n", names)
    assert_same_bits(names["f"](x), expected)
    if JIT:  # Numba takes a global when it compiles
        names["net"] = None
        del model
        gc.collect()
        for _ in range(1000):
            names["f"](x)
        assert_same_bits(names["f"](x), expected)


# Errors.


@jit_only
def test_wrong_dtypes_and_layouts_are_typing_errors(case):
    p, x, out = case
    other = np.float32 if p.dtype == np.float64 else np.float64
    locked = out.copy()
    locked.flags.writeable = False
    for arrays, message in (
        (
            (x.astype(other), out),
            rf"x must be of {p.dtype}, as the Predictor is; got an array of {np.dtype(other)}: make it x.astype",
        ),
        ((x, out.astype(other)), rf"out must be of {p.dtype}"),
        ((np.asfortranarray(x), out), r"x must be C-contiguous; got array\(.*F\): np.ascontiguousarray\(x\)"),
        ((x[:, ::2], out), r"x must be C-contiguous; got array\(.*A\)"),
        ((x, locked), r"out must be writable; got .*: out.copy\(\)"),
        ((x, out[0]), r"out must be of the shape \(p.outputs,\), or \(N, p.outputs\) where x is \(N, p.inputs\)"),
        ((x[None], out[None]), r"x must be of the shape \(p.inputs,\)"),
        ((3.0, out), rf"x must be an array of {p.dtype}, as the Predictor is; got float64"),
    ):
        with pytest.raises(numba.TypingError, match=message):
            at_once(p, *arrays)


@jit_only
def test_wrong_sizes_are_value_errors(case):
    p, x, out = case
    message = r"don't fit the Predictor p, which takes x \(p.inputs\), out \(p.outputs\) for one row, or N rows of each"
    for arrays in ((x[:, :2].copy(), out), (x, out[:, :1].copy()), (x[:5], out), (x[0, :2], out[0]), (x[0], out[0, :1])):
        before = out.copy()
        with pytest.raises(ValueError, match=message):
            at_once(p, *arrays)
        assert_same_bits(out, before)


# A pointer that comes back.


def test_predictor_at_in_a_cfunc(case):
    p, x, expected = case
    dtype = p.dtype.type

    def users(source, target, rows, user_data):
        net = fm.predictor_at(user_data, dtype)
        net(numba.carray(source, (rows, net.inputs)), numba.carray(target, (rows, net.outputs)))

    number = numba.from_dtype(p.dtype)
    pointer, out = numba.types.CPointer(number), np.empty_like(expected)
    if JIT:
        function = numba.cfunc(numba.types.void(pointer, pointer, numba.int64, numba.types.voidptr))(users)
        function.ctypes(
            x.ctypes.data_as(function.ctypes.argtypes[0]), out.ctypes.data_as(function.ctypes.argtypes[0]), 9, p.address
        )
    else:
        net = fm.predictor_at(p.address, dtype)
        net(x, out)
    assert_same_bits(out, expected)


@jit_only
def test_predictor_at_refuses_what_is_no_pointer(case):
    p, _, _ = case

    @numba.njit
    def at(pointer, dtype):
        return fm.predictor_at(pointer, dtype).inputs

    @numba.njit
    def back(pointer):
        return fm.predictor_at(pointer, np.float32)

    assert at(p.address, p.dtype) == 3
    for arguments, message in (
        ((1.5, p.dtype), "pointer must be a pointer"),
        ((p.address, np.dtype(np.int64)), "dtype must be"),
    ):
        with pytest.raises(numba.TypingError, match=message):
            at(*arguments)
    with pytest.raises(TypeError, match="a Predictor of predictor_at cannot leave compiled code"):
        back(p.address)
