"""The door to Numba, and the rules that the kernels' sources keep."""

from __future__ import annotations

import ast
import gc
import importlib
import os
import weakref
from pathlib import Path

import numba
import numpy as np
import pytest
from helpers import JIT, jit_only, run_python

import fastmlp.kernels
from fastmlp.kernels.compiler import jit

FOLDER = Path(fastmlp.kernels.__file__).parent
PATHS = {path.stem: path for path in sorted(FOLDER.rglob("*.py")) if path.stem != "__init__"}
SOURCES = {module: ast.parse(path.read_text()) for module, path in PATHS.items()}
DOORS = ("kernel", "inner", "instead", "expression")


def top_functions(tree):
    return [node for node in tree.body if isinstance(node, ast.FunctionDef)]


def decorators(function):
    names = set()
    for decorator in function.decorator_list:
        node = decorator.func if isinstance(decorator, ast.Call) else decorator
        names.add(node.id if isinstance(node, ast.Name) else node.attr)
    return names


def is_compiled(function):
    return bool(decorators(function) & {*DOORS, "intrinsic"})


COMPILED = {
    f"{module}.{function.name}": function
    for module, tree in SOURCES.items()
    for function in top_functions(tree)
    if is_compiled(function)
}

# The names that a module has from the kernels: its own functions, and those it imports.
PYTHON_ONLY = {function.name for tree in SOURCES.values() for function in top_functions(tree) if not is_compiled(function)} - {
    function.name for function in COMPILED.values()
}


def test_there_is_something_to_look_at():
    assert {"matmul.matmul", "transpose.transpose", "threads.barrier"} <= COMPILED.keys()
    assert len(SOURCES) > 10
    assert len(SOURCES) == len([path for path in FOLDER.rglob("*.py") if path.stem != "__init__"]), "two of one name"


@pytest.mark.parametrize("module", SOURCES)
def test_public_function_has_a_docstring(module):
    for function in top_functions(SOURCES[module]):
        assert function.name.startswith("_") or ast.get_docstring(function), f"{module}.{function.name}"
    assert ast.get_docstring(SOURCES[module])


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_function_calls_compiled_functions_only(name):
    if decorators(COMPILED[name]) & {"intrinsic", "instead", "expression"}:
        return  # those emit code, or run as plain Python only
    called = {
        node.func.id for node in ast.walk(COMPILED[name]) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & PYTHON_ONLY


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_function_keeps_the_rules(name):
    """No optional argument, no string, no exception, nothing but a kernel's arguments."""
    function = COMPILED[name]
    arguments = function.args
    assert not arguments.defaults
    assert not arguments.kwonlyargs
    assert arguments.vararg is None
    assert arguments.kwarg is None
    if decorators(function) & {"kernel", "inner"}:
        assert not [node for node in ast.walk(function) if isinstance(node, (ast.Raise, ast.Assert, ast.Try, ast.With))]
        texts = [node for node in ast.walk(function) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        assert len(texts) <= 1, "a kernel has no strings but its docstring"


@pytest.mark.parametrize("module", SOURCES)
def test_numba_is_called_through_the_one_door(module):
    if module == "jit":
        return
    for node in ast.walk(SOURCES[module]):
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("njit", "jit", "vectorize", "cfunc", "prange"), f"{module}, line {node.lineno}"
        if isinstance(node, ast.ImportFrom) and node.module == "numba":
            assert not {alias.name for alias in node.names} & {"njit", "jit", "prange", "vectorize", "cfunc"}


@pytest.mark.parametrize("module", SOURCES)
def test_all_names_exist(module):
    inside = PATHS[module].relative_to(FOLDER).with_suffix("")
    namespace = importlib.import_module(".".join([fastmlp.kernels.__name__, *inside.parts]))
    names = getattr(namespace, "__all__", [])
    assert sorted(names) == sorted(set(names))
    assert all(hasattr(namespace, name) for name in names)


@pytest.mark.parametrize("module", SOURCES)
def test_emitted_pointers_are_opaque(module):
    """Each instruction says what it reads or steps over, since the pointer itself does not."""
    names = {"load": "typ", "load_atomic": "typ", "gep": "source_etype"}
    for node in ast.walk(SOURCES[module]):
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("as_pointer", "pointee"), f"{module}, line {node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and "builder" in ast.unparse(node.func.value):
            needed = names.get(node.func.attr)
            assert needed is None or needed in {keyword.arg for keyword in node.keywords}, f"{module}, line {node.lineno}"
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("PointerType"):
            assert not node.args, f"{module}, line {node.lineno}"


@jit_only
def test_kernels_need_no_typed_pointers(tmp_path):
    code = """
import os, sys
os.environ["LLVMLITE_ENABLE_IR_LAYER_TYPED_POINTERS"], os.environ["NUMBA_CACHE_DIR"] = "0", sys.argv[1]
import numpy as np, fastmlp as fm
from llvmlite import ir
assert str(ir.DoubleType().as_pointer()) == "ptr"
model, X = fm.Sequential(fm.Linear(3, 5), fm.ReLU()), np.ones((2, 3))
model.reset_parameters(rng=0)
weight, bias = (parameter.data for parameter in model.parameters())
np.testing.assert_allclose(model.predict(X), np.maximum(0, X @ weight.T + bias), rtol=1e-6)
"""
    assert run_python(code, tmp_path) == ""


@jit_only
def test_kernel_has_the_flags():
    from fastmlp.kernels.losses import loss_sum

    assert loss_sum.targetoptions["nogil"]
    assert loss_sum.targetoptions["error_model"] == "numpy"
    assert not loss_sum.targetoptions["fastmath"]


def test_kernel_leaves_numbas_configuration_alone():
    before = numba.config.CACHE_DIR

    @jit.kernel
    def twice(x):
        return x + x

    assert before == numba.config.CACHE_DIR
    assert twice(3) == 6


def test_plain_kernel_is_as_silent_as_machine_code(dtype):
    @jit.kernel
    def square(x):
        return x[0] * x[0] / x[1]

    assert square(np.array([np.finfo(dtype).max, 0], dtype)) == np.inf


def test_jit_off_gives_plain_functions():
    code = """
import types
from fastmlp.kernels import engine
from fastmlp.kernels.products import matmul, tile
assert all(isinstance(f, types.FunctionType) for f in (engine.train_steps, engine.forward_rows, matmul.matmul, tile.tall_1))
"""
    run_python(code, jit=False)
    if JIT:
        from fastmlp.kernels.products import matmul

        assert isinstance(matmul.matmul, numba.core.registry.CPUDispatcher)


@jit_only
def test_long_compilation_is_announced_once_and_only_when_it_happens(tmp_path):
    code = """
import contextlib, io, os, sys
os.environ["NUMBA_CACHE_DIR"] = sys.argv[1]
import numpy as np, fastmlp as fm
with contextlib.redirect_stderr(io.StringIO()) as said:
    for dtype in (np.float32, np.float64):
        fm.Sequential(fm.Linear(2, 2), dtype=dtype).predict(np.ones((3, 2)))
print(said.getvalue().count("fastmlp: compiling kernels"))
"""
    assert [run_python(code, tmp_path) for _ in range(2)] == ["1\n", "0\n"]


@jit_only
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_child_that_is_forked_while_a_thread_compiles_can_compile():
    code = """
import os, signal, threading, time, warnings
warnings.simplefilter("ignore")  # of Python, about fork and threads
from fastmlp.kernels.compiler.jit import compile_block, kernel
from fastmlp.kernels.compiler.numba_private import compiler_lock

begun = threading.Event()
def compile():
    with compiler_lock:
        begun.set()
        time.sleep(0.3)
thread = threading.Thread(target=compile)
thread.start()
begun.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)
    assert kernel(lambda x: x + x)(2) == 4
    os._exit(0)
assert kernel(lambda x: x + x)(2) == 4
thread.join()
assert os.waitpid(child, 0)[1] == 0, "it hung"
grandchild = os.fork()
if grandchild == 0:
    os._exit(0)
assert os.waitpid(grandchild, 0)[1] == 0
"""
    run_python(code)


@jit_only
def test_nothing_keeps_a_kernels_function():
    function = jit.announced(jit.kernel(lambda x: x + x))
    assert function(2) == 4
    gone = weakref.ref(function.py_func)
    assert gone() in jit._Announcer.functions
    del function
    gc.collect()
    assert gone() is None
