"""Every kernel, block, activation, loss and optimizer has a benchmark."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from benchmarks import entries
from helpers import run_python

from fastmlp import registry

ROOT = Path(__file__).parents[2]

#: A kernel is what one of these decorates: always, or where its module exports it.
ALWAYS, EXPORTED = {"kernel", "expression"}, {"inner"}

# What benchmarks say they cover; the entry points that their setups (which call what is timed once) have made ready; and the
# files whose blocks each of them has laid out. In a process of its own, since the benchmarks set its environment and its cores.
COVERED = f"""
import itertools, json, sys
sys.path.insert(0, {str(ROOT / "asv_benchmarks")!r})
from asv_runner.discovery import disc_benchmarks
from fastmlp.kernels.block import Block
from fastmlp.kernels.compiler.jit import history
laid_out, address = set(), Block.address
def noting(block, dtype):
    laid_out.add("blocks." + block.function.__module__.rpartition(".")[2])
    return address(block, dtype)
Block.address = noting
covered, claims = set(), []
for benchmark in disc_benchmarks("benchmarks"):
    names = getattr(benchmark.func.__self__, "covers", ())
    covered.update(names)
    laid_out.clear()
    for place, values in enumerate(itertools.product(*benchmark._params) if names else ()):
        if benchmark._params:
            benchmark.set_param_idx(place)
        if "float64" not in values:
            benchmark.do_setup()
    claims.append([benchmark.name, sorted(name for name in names if name.startswith("blocks.")), sorted(laid_out)])
print(json.dumps([sorted(covered), sorted(set(entry.name for entry in history)), claims]))
"""


@pytest.fixture(scope="module")
def covered():
    """What is covered, what has been called, and what each benchmark says of blocks and has laid out."""
    named, called, claims = json.loads(run_python(COVERED).splitlines()[-1])
    return set(named), set(called), claims


def decorated(source: str, module: str, always: set[str], exported: set[str]) -> set[str]:
    """Functions of a module, by module and name, that one of `always` decorates, or one of `exported` where it exports them."""
    tree, public, found = ast.parse(source), set(), set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            public = set(ast.literal_eval(node.value))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            named = [getattr(decorator, "func", decorator) for decorator in node.decorator_list]  # with arguments, or without
            decorators = {getattr(decorator, "id", "") for decorator in named}
            if decorators & always or (decorators & exported and node.name in public):
                found.add(f"{module}.{node.name}")
    return found


def functions(always: set[str], exported: set[str]) -> set[str]:
    """Such functions of all kernel modules; those of the files of blocks are covered by the block."""
    files = [path for path in (ROOT / "fastmlp" / "kernels").rglob("*.py") if path.parent.name != "blocks"]
    return set().union(*(decorated(file.read_text(), file.stem, always, exported) for file in files))


def block_files() -> set[str]:
    """The files that make blocks."""
    files = (ROOT / "fastmlp" / "kernels" / "blocks").glob("*.py")
    return {f"blocks.{file.stem}" for file in files if re.search(r"^ *@block\(", file.read_text(), re.MULTILINE)}


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
@expression(slope=e)
def f(): ...
"""
    assert decorated(source, "m", ALWAYS, EXPORTED) == {"m.a", "m.b", "m.d", "m.f"}


def test_every_kernel_has_a_benchmark(covered):
    kernels, (named, _, _) = functions(ALWAYS, EXPORTED) | block_files(), covered
    missing, gone = sorted(kernels - named), sorted(named - kernels)
    assert not missing, f"no benchmark in asv_benchmarks/benchmarks/ has these in its `covers`: {', '.join(missing)}"
    assert not gone, f"benchmarks cover what is no kernel (any more): {', '.join(gone)}"


def test_a_benchmark_calls_the_entry_points_that_it_covers(covered):
    named, called, _ = covered
    idle = sorted(named & functions({"kernel"}, set()) - called)
    assert not idle, f"benchmarks that say they cover these do not call them: {', '.join(idle)}"


def test_a_benchmark_lays_out_the_blocks_that_it_covers(covered):
    _, _, claims = covered
    assert sum(bool(claimed) for _, claimed, _ in claims) > 5
    for name, claimed, laid_out in claims:
        assert set(claimed) <= set(laid_out), f"{name} says it covers {claimed}, and lays out {laid_out}"


@pytest.mark.parametrize("family", ["activations", "layers", "criteria", "optimizers"])
def test_every_entry_of_the_registry_has_a_benchmark(family):
    """The benchmarks read the sources; the registry asks the classes themselves."""
    kinds = getattr(registry, family)()
    cases = {name: [f"{name}({written(case)})" for case in kind.cases] for name, kind in kinds.items()}
    found = getattr(entries, family)()
    assert found == [case for some in cases.values() for case in some if case in found], "cases, in the order of the registry"
    assert [some[0] for some in cases.values()] == [case for case in found if case not in entries.ALSO]
    assert len(found) > 1


def test_cases_that_are_timed_beside_the_first_exist():
    families = (entries.activations(), entries.layers(), entries.criteria(), entries.optimizers())
    assert set(entries.ALSO) <= {entry for family in families for entry in family}


def written(case):
    """Arguments as one writes them."""
    return ", ".join(f"{key}={value!r}" for key, value in case.items())


def test_an_entry_that_a_commit_lacks_is_not_for_it():
    with pytest.raises(NotImplementedError, match="Swoosh"):
        entries.make("Swoosh()")
    with pytest.raises(NotImplementedError, match="slope"):
        entries.make("ReLU(slope=2)")
