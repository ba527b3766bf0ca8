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
from fastmlp.kernels import engine, scan
from fastmlp.kernels.blocks import linear
from fastmlp.kernels.compiler import jit
from fastmlp.kernels.products import matmul

pytestmark = pytest.mark.once

FOLDER = Path(fastmlp.kernels.__file__).parent
PATHS = {path.stem: path for path in sorted(FOLDER.rglob("*.py")) if path.stem != "__init__"}
SOURCES = {module: ast.parse(path.read_text()) for module, path in PATHS.items()}

#: Whose body Numba compiles; and what compiled code may call besides.
BODIES = {"kernel", "inner", "block"}
DOORS = {*BODIES, "instead", "expression", "intrinsic"}


def functions(tree):
    """All functions, those inside others too, but no methods."""
    methods = {item for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for item in node.body}
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node not in methods]


def decorators(function):
    names = set()
    for decorator in function.decorator_list:
        node = decorator.func if isinstance(decorator, ast.Call) else decorator
        names.add(node.id if isinstance(node, ast.Name) else node.attr)
    return names


COMPILED = {
    f"{module}.{function.name}": function
    for module, tree in SOURCES.items()
    for function in functions(tree)
    if decorators(function) & DOORS
}
KERNELS = {name: function for name, function in COMPILED.items() if decorators(function) & BODIES}

# Functions of these modules that Numba is told nothing about; names that both kinds have are nobody's.
PYTHON_ONLY = {
    function.name for tree in SOURCES.values() for function in tree.body if isinstance(function, ast.FunctionDef)
} - {function.name for function in COMPILED.values()}


def test_there_is_something_to_look_at():
    assert {
        "matmul.matmul",
        "transpose.transpose",
        "threads.barrier",
        "linear._linear",
        "optimizers.optimizer",
    } <= COMPILED.keys()
    assert {"engine.run", "scan.row_sum", "elementwise.elementwise", "moves._input"} <= KERNELS.keys()
    assert {"announced", "row_stride", "lines_pass"} <= PYTHON_ONLY
    assert len(SOURCES) > 10
    assert len(SOURCES) == len([path for path in FOLDER.rglob("*.py") if path.stem != "__init__"]), "two of one name"


def test_public_functions_have_docstrings():
    for module, tree in SOURCES.items():
        assert ast.get_docstring(tree), module
        for function in tree.body:
            if isinstance(function, ast.FunctionDef):
                assert function.name.startswith("_") or ast.get_docstring(function), f"{module}.{function.name}"


def test_kernels_call_decorated_functions_only():
    """So each function that compiled code consists of says by its decorator how it is compiled."""
    for name, function in KERNELS.items():
        calls = [node.func for line in function.body for node in ast.walk(line) if isinstance(node, ast.Call)]
        called = {call.id for call in calls if isinstance(call, ast.Name)}
        called |= {call.attr for call in calls if isinstance(call, ast.Attribute)}
        undecorated = called & PYTHON_ONLY
        assert not undecorated, name


def test_compiled_functions_keep_the_rules():
    """No optional argument, no string, no exception, nothing but a kernel's arguments."""
    for name, function in COMPILED.items():
        arguments = function.args
        assert not arguments.defaults + arguments.kwonlyargs, name
        assert arguments.vararg is arguments.kwarg is None, name
    for name, function in KERNELS.items():
        assert len(decorators(function) & DOORS) == 1, name
        assert not [node for node in ast.walk(function) if isinstance(node, (ast.Raise, ast.Assert, ast.Try, ast.With))], name
        texts = [node for node in ast.walk(function) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        decorator = [text for one in function.decorator_list for text in ast.walk(one) if text in texts]  # a block's name
        docstring = ast.get_docstring(function) is not None
        assert len(texts) - len(decorator) == docstring, f"{name}: a kernel has no strings but its docstring"


def test_numba_is_called_through_the_one_door():
    doors = {"njit", "jit", "vectorize", "guvectorize", "cfunc", "prange", "stencil"}
    for module, tree in SOURCES.items():
        for node in ast.walk(tree):
            where = f"{module}, line {getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Attribute) and module != "jit":
                assert node.attr not in doors, where
            if isinstance(node, ast.ImportFrom) and node.module == "numba":
                assert not {alias.name for alias in node.names} & doors, where


def test_all_names_exist():
    for module, path in PATHS.items():
        inside = path.relative_to(FOLDER).with_suffix("")
        namespace = importlib.import_module(".".join([fastmlp.kernels.__name__, *inside.parts]))
        names = getattr(namespace, "__all__", [])
        assert sorted(names) == sorted(set(names)), module
        assert all(hasattr(namespace, name) for name in names), module


#: Numba compares the type of a variable with what is stored there, and llvmlite calls by the type of a function.
TYPED = {"super().__init__(manager, fe_type, INT.as_pointer())", "builder.inttoptr(address, function_type.as_pointer())"}


def test_emitted_pointers_are_opaque():
    """Each instruction says what it reads or steps over, since the pointer itself does not."""
    names = {"load": "typ", "load_atomic": "typ", "gep": "source_etype"}
    for module, tree in SOURCES.items():
        allowed = {inner for node in ast.walk(tree) if ast.unparse(node) in TYPED for inner in ast.walk(node)}
        for node in ast.walk(tree):
            where = f"{module}, line {getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Attribute) and node not in allowed:
                assert node.attr not in ("as_pointer", "pointee"), where
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and "builder" in ast.unparse(node.func.value)
            ):
                needed = names.get(node.func.attr)
                assert needed is None or needed in {keyword.arg for keyword in node.keywords}, where
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("PointerType"):
                assert not node.args, where


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
    for function in (scan.all_finite, engine.run, scan.row_sum):
        assert function.targetoptions["nogil"]
        assert function.targetoptions["error_model"] == "numpy"
        assert not function.targetoptions["fastmath"]


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
from fastmlp.kernels import engine, scan
from fastmlp.kernels.blocks import linear
from fastmlp.kernels.products import matmul, tile
functions = engine.run, engine.carry, scan.all_finite, linear._linear.function, matmul.matmul, tile.tile
assert all(isinstance(f, types.FunctionType) for f in functions)
"""
    run_python(code, jit=False)
    if JIT:
        assert isinstance(matmul.matmul, numba.core.registry.CPUDispatcher)
        assert isinstance(engine.run, numba.core.registry.CPUDispatcher)
        assert callable(linear._linear.function)


@jit_only
def test_long_compilation_is_announced_once_and_only_when_it_happens(tmp_path):
    """The eight processes of test_cache.py see to the engine and to blocks of the package."""
    assert engine.run.py_func in jit._Announcer.functions
    code = """
import contextlib, io, os, sys
os.environ["NUMBA_CACHE_DIR"] = sys.argv[1]
from numba import types
from fastmlp.kernels.compiler import jit
@jit.announced
@jit.kernel
def twice(x):
    return x + x
@jit.kernel
def quick(x):
    return x + x
def block(x):
    pass
with contextlib.redirect_stderr(io.StringIO()) as said:
    quick(1)
    assert said.getvalue() == ""
    if "block first" in sys.argv:
        jit.compile_block(block, types.void(types.intp), "test.block", "v1")
    twice(1), twice(1.0)
    jit.compile_block(block, types.void(types.intp), "test.block", "v1")
print(said.getvalue().count("fastmlp: compiling kernels"), said.getvalue().count("fastmlp:"))
"""
    assert [run_python(code, tmp_path / "one") for _ in range(2)] == ["1 1\n", "0 0\n"]
    assert run_python(code, tmp_path / "other", "block first") == "1 1\n"


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
