"""Kernels compiled as a whole: what is left out is not missed, and without Numba's hooks it goes Numba's way."""

from __future__ import annotations

import ast
from pathlib import Path

import numba
import numpy as np
import pytest
from helpers import jit, jit_only, run_python
from numba.core.caching import NullCache

import fastmlp
from fastmlp.kernels.compiler import cache, numba_private
from fastmlp.kernels.compiler.jit import BLOCK, FLAGS, inner, kernel
from fastmlp.kernels.elementary import exp
from fastmlp.kernels.products.matmul import matmul_above
from fastmlp.kernels.products.padding import clear_padding
from fastmlp.kernels.products.tile import WIDTHS
from fastmlp.kernels.scan import first_outside
from fastmlp.kernels.shuffle import epoch_order

pytestmark = pytest.mark.once

PACKAGE = Path(fastmlp.__file__).parent

TRAIN = """
import os, sys, warnings
os.environ["NUMBA_CACHE_DIR"] = sys.argv[1]
{before}
import numpy as np, fastmlp as fm
from fastmlp.kernels import engine
from fastmlp.kernels.compiler import numba_private
assert numba_private.AVAILABLE == {available}
model = fm.Sequential(fm.Linear(1, 1))
model.reset_parameters(rng=0)
criterion, optimizer = fm.MSELoss(), fm.SGD(model.parameters(), lr=0.5)
loss = criterion(np.ones((3, 1)), np.zeros((3, 1)))
for _ in range(int(sys.argv[2])):
    loss = criterion(model(np.ones((3, 1))), np.zeros((3, 1)))
    model.backward(criterion.backward())
    optimizer.step()
print(loss, model.storage.data.tobytes().hex(), sum(engine.run.stats.cache_hits.values()))
"""

# What the next Numba may do: a method has another name.
RENAMED = """
from numba.core.codegen import CPUCodeLibrary
CPUCodeLibrary._simplify_functions = CPUCodeLibrary._optimize_functions
del CPUCodeLibrary._optimize_functions
def add_llvm_module(self, module):
    self._simplify_functions(module)
    self._final_module.link_in(module)
CPUCodeLibrary.add_llvm_module = add_llvm_module
"""


@inner
def leaf(x):
    return exp(x)


@inner
def branch(x):
    return leaf(x) + leaf(-x)


@kernel
def root(x):
    return branch(x[0])


@kernel
def above(x):
    return root(x) + branch(x[0])


@jit_only
def test_numba_has_the_hooks():
    assert numba_private.AVAILABLE


@jit_only
def test_without_the_hooks_kernels_are_compiled_in_numbas_way(tmp_path):
    lean = run_python(TRAIN.format(before="", available=True), cache._user_cache(), 2).split()
    plain = [run_python(TRAIN.format(before=RENAMED, available=False), tmp_path, steps).split() for steps in (2, 0)]
    assert plain[0] == [*lean[:2], "0"]
    assert plain[1][2] == "1"  # cached too; blocks are not


def test_kernel_calls_parts_and_kernels():
    x = np.array([0.5])
    assert root(x) == np.exp(0.5) + np.exp(-0.5)
    assert above(x) == 2 * root(x)


@jit_only
def test_kernel_makes_no_machine_code_of_what_it_calls():
    x = np.array([0.25], np.float32)
    above._cache = NullCache()  # what comes from the cache of an earlier run names no functions
    above(x)
    (whole,) = [cres.library for sig, cres in above.overloads.items() if sig[0].dtype.bitwidth == 32]
    defined = {function.name for function in whole.get_defined_functions()}
    assert any("above" in name for name in defined)
    engine = whole._codegen._engine
    for function in (leaf, branch):
        for cres in function.overloads.values():
            assert cres.library.get_pointer_to_function(cres.fndesc.llvm_func_name) == 0
            assert not engine.is_symbol_defined(cres.fndesc.llvm_func_name) or cres.fndesc.llvm_func_name in defined
    assert not [sig for sig in root.overloads if sig[0].dtype.bitwidth == 32], "a kernel called by a kernel is a part"


def test_users_function_calls_kernels_and_parts():
    @jit
    def function(x):
        return above(x) + leaf(x[0])

    x = np.array([0.5])
    assert function(x) == 2 * (np.exp(0.5) + np.exp(-0.5)) + np.exp(0.5)


def test_users_function_calls_a_function_of_llvms():
    """Of which each process writes one, for whoever calls it: Numba's own libraries link it too."""

    @jit
    def function(c, again):
        clear_padding(c, 3)
        clear_padding(again, 5)

    for dtype in (np.float32, np.float64):
        c, again = np.ones((2, 4, 16), dtype)
        function(c, again)
        np.testing.assert_array_equal(c, np.repeat([np.arange(16) < 3], 4, axis=0))
        np.testing.assert_array_equal(again, np.repeat([np.arange(16) < 5], 4, axis=0))


def test_kernel_called_by_a_users_function_does_as_called_from_python():
    @jit
    def function(order, seed, epoch, labels, classes):
        epoch_order(order, seed, epoch)
        return first_outside(labels, classes)

    order, again, labels = np.zeros(37, np.int64), np.zeros(37, np.int64), np.arange(37)
    epoch_order(order, 5, 2)
    assert function(again, 5, 2, labels, 30) == first_outside(labels, 30) == 30
    np.testing.assert_array_equal(again, order)
    assert sorted(again) == list(range(37))


def test_what_numba_does_not_promise_is_used_in_one_file():
    """`cgutils` and `ir` are what intrinsics are written with, in Numba's own documentation of them too."""
    allowed = {"numba", "numba.types", "numba.from_dtype", "numba.TypingError", "numba.extending", "numba.core.cgutils"}
    allowed |= {"llvmlite", "llvmlite.ir", "llvmlite.binding"}
    names = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            found = []
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module in ("numba", "numba.core", "llvmlite"):
                found = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found = [node.module or ""]
            elif isinstance(node, ast.Attribute):
                assert not ast.unparse(node).startswith("numba.core."), f"{path}, line {node.lineno}"
            found = [name for name in found if name.partition(".")[0] in ("numba", "llvmlite")]
            names |= set(found)
            assert path.name == "numba_private.py" or set(found) <= allowed, f"{path}, line {node.lineno}"
    assert "numba.config" in names, "nothing was looked at"


def test_any_hook_may_be_gone():
    """Each is taken away in turn, and the module read anew: it says so, and can be imported."""
    code = """
import importlib.util
from fastmlp.kernels.compiler import numba_private
assert numba_private.AVAILABLE

def read():
    spec = importlib.util.spec_from_file_location("again", numba_private.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

GONE = object()
tried = 0
for owner, names in numba_private.HOOKS:
    if not isinstance(owner, type):
        continue
    for name in names.split():
        homes = [kind for kind in owner.__mro__ if name in vars(kind)]
        kept = [(home, vars(home)[name]) for home in homes]
        for home in homes:
            delattr(home, name)
        assert not read().AVAILABLE, name
        for home, value in kept:
            setattr(home, name, value)
        tried += 1
assert tried > 10
assert read().AVAILABLE
from numba.core import caching, codegen, compiler, compiler_lock, event
needed = (codegen, "JITCodeLibrary"), (caching, "NullCache"), (compiler, "Compiler")
replaced = (event, "Listener"), (compiler_lock, "global_compiler_lock"), (codegen, "get_host_cpu_features")
for module, name in needed + replaced:
    value = getattr(module, name)
    delattr(module, name)
    without = read()
    assert without.AVAILABLE == ((module, name) in replaced), name
    without.on_compile(print)
    assert "+" in without.host_features() or without.host_features() == numba_private.host_features()
    with without.compiler_lock:
        pass
    setattr(module, name, value)
"""
    run_python(code)


@jit_only
def test_linear_algebra_comes_when_it_is_used():
    pytest.importorskip("scipy")
    code = """
import sys
import numba, numpy as np
from fastmlp.kernels.compiler.jit import compile_block
def nothing(n): pass
compile_block(nothing, numba.types.void(numba.types.int64), "nothing")
assert "numba.np.arraymath" in sys.modules and "scipy.linalg" not in sys.modules
from numba.np import arraymath, linalg
assert arraymath.ensure_blas is linalg.ensure_blas
print(numba.njit(lambda a, b: np.dot(a, b))(np.ones(3), np.ones(3)), "scipy.linalg" in sys.modules)
"""
    assert run_python(code).split() == ["3.0", "True"]


@inner
def product(c, a, b):
    matmul_above(c, a, b.shape[1], a.shape[1], a, a.shape[1], a.shape[0], b, c.shape[1], a.shape[1], a[0, 0])


@inner
def twice(c, a, b):
    product(c, a, b)
    matmul_above(b, a, c.shape[1], a.shape[1], a, b.shape[1], b.shape[0], c, b.shape[1], c.shape[1], c[0, 0])


def defined_for(function):
    """What LLVM has made of a block of three matrices: the name and the linkage of each function but itself."""
    with numba_private.compiler_lock:
        matrix = numba.types.Array(numba.types.float32, 2, "C")
        library, symbol = numba_private.compile_and_keep(numba.njit(**FLAGS, **BLOCK)(function), (matrix,) * 3)
        assert numba_private.object_code(library)[1:] == ([], True)
    functions = [f for f in library._final_module.functions if not f.is_declaration and f.name != symbol]
    return {f.name: f.linkage.name for f in functions}


@jit_only
def test_parts_are_internal_and_share_what_they_bring():
    """So LLVM passes what a product reads of four arrays, not their 36 numbers; and there is one tile of each kind."""

    def both(c, a, b):
        twice(c, a, b)
        product(b, c, a)

    defined = defined_for(both)
    assert set(defined.values()) == {"internal"}, defined
    assert sum("matmul_above" in name for name in defined) == 1, defined
    tiles = [name for name in defined if name.startswith("fastmlp_tile")]
    assert len(tiles) == 2 * len(WIDTHS), tiles


@jit_only
def test_a_long_part_is_not_copied_into_its_only_caller(monkeypatch):
    def one(c, a, b):
        product(c, a, b)

    assert not any("matmul_above" in name for name in defined_for(one))
    monkeypatch.setattr(numba_private, "LONG_PART", 500)
    assert [link for name, link in defined_for(one).items() if "matmul_above" in name] == ["linkonce_odr"]


@jit_only
def test_kernels_count_no_references():
    """A function that returns a view would count one for it."""

    def views(x):
        return x[1:][1:]

    signature = numba.types.Array(numba.types.float64, 1, "C")
    library, _ = numba_private.compile_and_keep(numba.njit(**FLAGS, **BLOCK)(views), (signature,))
    assert "NRT_" not in str(library._final_module)
    library, _ = numba_private.compile_and_keep(numba.njit(views), (signature,))
    assert "NRT_" in library.get_llvm_str()
