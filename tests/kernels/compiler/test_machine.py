"""Blocks: functions that are compiled alone, kept alone, and called by their address."""

from __future__ import annotations

import ctypes
import gc
import math
import weakref

import numpy as np
import pytest
from helpers import jit_only, run_python
from numba import types

from fastmlp.kernels.compiler import cache, jit
from fastmlp.kernels.compiler.jit import compile_block, inner
from fastmlp.kernels.compiler.lock import Lock
from fastmlp.kernels.compiler.machine import MachineCode

pytestmark = pytest.mark.once

ARRAY = types.Array(types.float64, 1, "C")
SIGNATURE = types.void(ARRAY, types.intp)


@inner
def part(x):
    return 2 * x + 1


def block(x, n):
    for i in range(n):
        x[i] = part(x[i])


def other_block(x, n):
    for i in range(n):
        x[i] = -x[i]


def record_block(record, n):
    record.second = record.first + n


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "cache_folder", str(tmp_path))
    monkeypatch.setattr(cache, "cache_is_writable", True)
    monkeypatch.setattr(jit, "history", [])
    return tmp_path


def call(code, x):
    """Call a block of SIGNATURE in Numba's own calling convention."""
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    kinds = [pointer, pointer, pointer, pointer, integer, integer, pointer, integer, integer, integer]
    places = [pointer(), pointer()]
    function = ctypes.CFUNCTYPE(ctypes.c_int32, *kinds)(code.address)
    return function(*map(ctypes.addressof, places), None, None, x.size, x.itemsize, x.ctypes.data, x.size, x.itemsize, x.size)


@jit_only
def test_block_is_compiled_once_and_loaded_afterwards(folder):
    codes = [compile_block(block, SIGNATURE, "test.block", "v1") for _ in range(3)]
    assert [(entry.name, entry.compiled) for entry in jit.history] == [("test.block", True)] + 2 * [("test.block", False)]
    (file,) = folder.glob("*.nbc")
    assert file.name.startswith("test.block-")
    for code in codes:
        x = np.arange(5.0)
        assert call(code, x) == 0
        np.testing.assert_array_equal(x, 2 * np.arange(5.0) + 1)


@jit_only
def test_block_has_a_file_for_each_signature_name_and_dependence(folder):
    with_floats = types.void(types.Array(types.float32, 1, "C"), types.intp)
    for signature, name, depends in [
        (SIGNATURE, "a", "1"),
        (with_floats, "a", "1"),
        (SIGNATURE, "b", "1"),
        (SIGNATURE, "a", "2"),
    ]:
        compile_block(block, signature, name, depends)
    assert len(list(folder.glob("*.nbc"))) == 4
    assert all(entry.compiled for entry in jit.history)


@jit_only
def test_function_from_elsewhere_is_cached_only_if_somebody_says_what_it_depends_on(folder):
    for depends in ("", None, "", None):
        compile_block(block, SIGNATURE, "test.block", depends)
    assert not list(folder.iterdir())
    assert [entry.compiled for entry in jit.history] == 4 * [True]


@jit_only
def test_blocks_with_one_symbol_do_not_meet():
    """Two processes number closures alike: the same name in two cache files is no mistake."""
    one, two = (compile_block(function, SIGNATURE, "test.block", None) for function in (block, other_block))
    again = MachineCode(two.symbol, two.code)
    assert len({code.address for code in (one, two, again)}) == 3
    x = np.ones(3)
    for code in (one, two, again):
        call(code, x)
    np.testing.assert_array_equal(x, 3)


@jit_only
def test_damaged_block_is_compiled_anew(folder):
    compile_block(block, SIGNATURE, "test.block", "v1")
    (file,) = folder.glob("*.nbc")
    whole = file.read_bytes()
    for place in range(0, len(whole), len(whole) // 10):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        x = np.arange(5.0)
        call(compile_block(block, SIGNATURE, "test.block", "v1"), x)
        np.testing.assert_array_equal(x, 2 * np.arange(5.0) + 1)
    assert all(entry.compiled for entry in jit.history)


@jit_only
def test_block_with_an_address_of_this_process_is_not_kept(folder):
    address = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(lambda x: x + 1)

    def calls_back(x, n):
        x[0] = address(x[0])

    for _ in range(2):
        compile_block(calls_back, SIGNATURE, "test.block", "v1")
    assert not list(folder.glob("*.nbc"))
    assert [entry.compiled for entry in jit.history] == [True, True]


@jit_only
def test_block_may_need_symbols_and_is_compiled_where_one_is_missing(folder, monkeypatch):
    def needs(x, n):
        for i in range(n):
            x[i] = math.sinh(x[i])

    for known in (True, True, False):
        if not known:
            monkeypatch.setattr(jit, "is_known", lambda symbol: symbol != "sinh")
        x = np.ones(5)
        assert call(compile_block(needs, SIGNATURE, "test.block", "v1"), x) == 0
        np.testing.assert_allclose(x, math.sinh(1), rtol=1e-14)
    assert [entry.compiled for entry in jit.history] == [True, False, True]


@jit_only
def test_block_that_allocates_is_refused():
    """Nobody would give the memory back."""

    def allocates(x, n):
        sums = np.empty(n)
        for i in range(n):
            sums[i] = x[: i + 1].size
        for i in range(n):
            x[i] = sums[i]

    with pytest.raises(RuntimeError, match="allocates memory"):
        compile_block(allocates, SIGNATURE, "test.block", None)


@jit_only
def test_block_that_another_process_compiles_is_waited_for(folder, monkeypatch):
    compile_block(block, SIGNATURE, "test.block", "v1")
    (file,) = folder.glob("*.nbc")
    aside = file.rename(folder / "aside")
    other = Lock(file.with_suffix(".lock"))
    assert not other.acquire()

    def waiting(function):
        assert function is block
        aside.rename(file)
        other.release()

    monkeypatch.setattr(jit._Announcer, "waiting", waiting)
    x = np.arange(5.0)
    call(compile_block(block, SIGNATURE, "test.block", "v1"), x)
    np.testing.assert_array_equal(x, 2 * np.arange(5.0) + 1)
    assert [entry.compiled for entry in jit.history] == [True, False]


@jit_only
def test_block_that_another_process_compiles_may_be_left_to_it(folder, monkeypatch):
    compile_block(block, SIGNATURE, "test.block", "v1")
    (file,) = folder.glob("*.nbc")
    file.unlink()
    other = Lock(file.with_suffix(".lock"))
    assert other.acquire_now()
    monkeypatch.setattr(jit._Announcer, "waits", False)
    with pytest.raises(jit.BusyError):
        compile_block(block, SIGNATURE, "test.block", "v1")
    other.release()
    compile_block(block, SIGNATURE, "test.block", "v1")
    assert [entry.compiled for entry in jit.history] == [True, True]


@jit_only
def test_block_may_take_a_record(folder):
    dtype = np.dtype([("first", np.int64), ("second", np.int64)], align=True)
    signature = types.void(jit.numba.from_dtype(dtype), types.intp)
    for _ in range(2):
        code = compile_block(record_block, signature, "test.record", "v1")
        record, places = np.array([(3, 0)], dtype), [ctypes.c_void_p(), ctypes.c_void_p()]
        function = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 3, ctypes.c_int64)(code.address)
        assert function(*map(ctypes.addressof, places), record.ctypes.data, 4) == 0
        assert record["second"] == 7
    assert [entry.compiled for entry in jit.history] == [True, False]


@jit_only
def test_nothing_keeps_a_blocks_function():
    def function(x, n):
        x[0] = n

    gone = weakref.ref(function)
    code = compile_block(function, SIGNATURE, "test.block", None)
    del function
    gc.collect()
    assert gone() is None
    x = np.ones(3)
    call(code, x)
    assert x[0] == 3


@jit_only
def test_block_is_compiled_without_numbas_hooks(monkeypatch):
    monkeypatch.setattr(jit, "AVAILABLE", False)
    monkeypatch.setattr(jit, "BLOCK", {})
    x = np.arange(5.0)
    assert call(compile_block(block, SIGNATURE, "test.block"), x) == 0
    np.testing.assert_array_equal(x, 2 * np.arange(5.0) + 1)


@jit_only
def test_processes_agree_on_the_name_of_a_blocks_file(tmp_path):
    code = """
import os, sys
os.environ["NUMBA_CACHE_DIR"] = sys.argv[1]
import numpy as np, numba
from numba import types
from fastmlp.kernels.compiler import jit
record = numba.from_dtype(np.dtype([("a", np.int64), ("b", np.float32, (3,))], align=True))
def function(record, n):
    record.a = n
jit.compile_block(function, types.void(record, types.intp), "test.record", "v1")
print([entry.compiled for entry in jit.history])
"""
    assert [run_python(code, tmp_path) for _ in range(2)] == ["[True]\n", "[False]\n"]


def test_nothing_is_compiled_where_the_jit_is_off(monkeypatch):
    monkeypatch.setattr(jit, "COMPILING", False)
    with pytest.raises(RuntimeError, match="NUMBA_DISABLE_JIT"):
        compile_block(block, SIGNATURE, "test.block")
