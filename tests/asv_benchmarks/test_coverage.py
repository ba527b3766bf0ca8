"""Every kernel has a benchmark."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from helpers import run_python

ROOT = Path(__file__).parents[2]

#: A kernel is what one of these decorates: always, or where its module exports it.
ALWAYS, EXPORTED = {"kernel", "expression"}, {"inner"}

# What benchmarks say they cover, and the entry points that their setups (which call what is timed once) have made ready. In a
# process of its own, since the benchmarks set its environment and its cores.
COVERED = f"""
import itertools, json, sys
sys.path.insert(0, {str(ROOT / "asv_benchmarks")!r})
from asv_runner.discovery import disc_benchmarks
from fastmlp.kernels.compiler.jit import history
covered = set()
for benchmark in disc_benchmarks("benchmarks"):
    names = getattr(benchmark.func.__self__, "covers", ())
    covered.update(names)
    for place, values in enumerate(itertools.product(*benchmark._params) if names else ()):
        if benchmark._params:
            benchmark.set_param_idx(place)
        if "float64" not in values:
            benchmark.do_setup()
print(json.dumps([sorted(covered), sorted(set(entry.name for entry in history))]))
"""


@pytest.fixture(scope="module")
def covered():
    """What is covered, and what has been called."""
    return [set(names) for names in json.loads(run_python(COVERED).splitlines()[-1])]


def decorated(source: str, module: str, always: set[str], exported: set[str]) -> set[str]:
    """Functions of a module, by module and name, that one of `always` decorates, or one of `exported` where it exports them."""
    tree, public, found = ast.parse(source), set(), set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            public = set(ast.literal_eval(node.value))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            decorators = {getattr(decorator, "id", "") for decorator in node.decorator_list}
            if decorators & always or (decorators & exported and node.name in public):
                found.add(f"{module}.{node.name}")
    return found


def functions(always: set[str], exported: set[str]) -> set[str]:
    """Such functions of all kernel modules."""
    files = (ROOT / "fastmlp" / "kernels").glob("*.py")
    return set().union(*(decorated(file.read_text(), file.stem, always, exported) for file in files))


def test_kernels_are_found_by_their_decorators():
    source = """
__all__ = ["a", "b", "e"]
@kernel
def a(): ...
@inner
def b(): ...
@inner
def c(): ...
@announced
@kernel
def d(): ...
def e(): ...
"""
    assert decorated(source, "m", ALWAYS, EXPORTED) == {"m.a", "m.b", "m.d"}


def test_every_kernel_has_a_benchmark(covered):
    kernels, (named, _) = functions(ALWAYS, EXPORTED), covered
    missing, gone = sorted(kernels - named), sorted(named - kernels)
    assert not missing, f"no benchmark in asv_benchmarks/benchmarks/ has these in its `covers`: {', '.join(missing)}"
    assert not gone, f"benchmarks cover what is no kernel (any more): {', '.join(gone)}"


def test_a_benchmark_calls_the_entry_points_that_it_covers(covered):
    named, called = covered
    idle = sorted(named & functions({"kernel"}, set()) - called)
    assert not idle, f"benchmarks that say they cover these do not call them: {', '.join(idle)}"
