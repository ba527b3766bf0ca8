"""The garbage collector is off while something is compiled, and afterwards as it was."""

from __future__ import annotations

import gc

import numba
import numpy as np
import pytest
from helpers import jit_only
from numba import types

from fastmlp.kernels.compiler import cache, jit
from fastmlp.kernels.compiler.collector import collector_off
from fastmlp.kernels.compiler.expression import expression
from fastmlp.kernels.compiler.jit import compile_block, kernel

pytestmark = pytest.mark.once

SEEN = []


@expression
def looks(x):
    """Has seen, each time that it is traced, whether the collector is on."""
    SEEN.append(gc.isenabled())
    return x + 1


def entry_point(x):
    x[0] = looks(x[0])


def wrong(x):
    x[0] = looks(x[0]).no_such_thing


@pytest.fixture(params=[True, False], ids=["on", "off"])
def before(request, tmp_path, monkeypatch):
    """The collector is on, or off, before a test begins, and nothing has been compiled."""
    monkeypatch.setattr(cache, "cache_folder", str(tmp_path))
    monkeypatch.setattr(cache, "cache_is_writable", True)
    monkeypatch.setattr(jit, "history", [])
    SEEN.clear()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    gc.enable()


def test_collector_is_off_inside_and_afterwards_as_it_was(before):
    with collector_off():
        assert not gc.isenabled()
        with collector_off():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled() == before
    with pytest.raises(KeyboardInterrupt), collector_off():
        raise KeyboardInterrupt
    assert gc.isenabled() == before


@jit_only
def test_kernel_is_compiled_without_the_collector_and_loaded_with_it(before, monkeypatch):
    x = np.zeros(1)
    kernel(entry_point)(x)
    assert SEEN
    assert not any(SEEN)
    assert gc.isenabled() == before
    monkeypatch.setattr(gc, "disable", lambda: pytest.fail("what is loaded makes no garbage"))
    kernel(entry_point)(x)
    assert [entry.compiled for entry in jit.history] == [True, False]
    assert gc.isenabled() == before
    assert x == 2


@jit_only
def test_block_is_compiled_without_the_collector(before):
    compile_block(entry_point, types.void(types.Array(types.float64, 1, "C")), "test.block", "v1")
    assert SEEN
    assert not any(SEEN)
    assert gc.isenabled() == before


@jit_only
def test_collector_is_as_it_was_where_compilation_fails(before):
    with pytest.raises(numba.TypingError):
        kernel(wrong)(np.zeros(1))
    assert gc.isenabled() == before
    with pytest.raises(numba.TypingError):
        compile_block(wrong, types.void(types.Array(types.float64, 1, "C")), "test.wrong", "v1")
    assert gc.isenabled() == before
