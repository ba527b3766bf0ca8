"""A block called by its address, from compiled code, does what its plain function does."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from helpers import JIT, assert_same_bits, in_threads, jit_only, kept_job, linear_op, normal, ran_both_ways, run_job, run_python

import fastmlp as fm
from fastmlp.kernels.block import Block, block
from fastmlp.kernels.blocks.linear import Linear
from fastmlp.kernels.compiler.cache import cache_folder
from fastmlp.kernels.compiler.lines import lines_pass
from fastmlp.kernels.compiler.numba_private import AVAILABLE
from fastmlp.kernels.op import FORWARD, HEADER, ROWS, Memory, Op
from fastmlp.program import Program


@block("affine", shift=np.int64, factor=np.float64)
def _affine(task, op, job, row, rows, at):
    for n in range(rows):
        for j in range(op.width_in):
            here = job.x[(row + n) * op.width_in + j]
            value = op.factor * np.float64(here) + np.float64(op.shift)
            job.y[(row + n) * op.width_in + j] += value * job.rows + 1000 * task + job.step
            job.work[op.y + (at + n) * op.y_stride + j] = here


@block("affine", shift=np.int64)
def _other(task, op, job, row, rows, at):
    for n in range(rows * op.width_in):
        job.y[row * op.width_in + n] += op.shift


class Affine(Op):
    """A block of a user, with an integer and a float of its own."""

    name = "affine"

    def __init__(self, width, chosen, **fields):
        super().__init__(width, width)
        self.block, self.fields = chosen, fields

    def tasks(self, record):
        return {FORWARD}

    def lay_out(self, record, memory):
        for name, value in self.fields.items():
            setattr(record, name, value)


def job_of(ops, dtype, rows):
    program = Program(ops, dtype, Memory(dtype, rows, 1, backward=True))
    program._phase(ROWS, program._forward(FORWARD), pool=4, block=3)
    program._pass()
    return kept_job(program, dtype)


@jit_only
def test_threads_that_ask_for_an_address_at_once_get_the_same(dtype):
    """Else the code of one would be freed while a program has its address."""

    @block("asked-at-once", shift=np.int64)
    def asked(task, op, job, row, rows, at):
        job.y[row] += 3 * op.shift

    found, together = {}, threading.Barrier(3)

    def ask(thread):
        together.wait()
        found[thread] = asked.address(np.dtype(dtype))

    in_threads(ask, 3)
    assert len(found) == 3
    assert len(set(found.values())) == 1


def test_a_block_by_address_does_what_its_function_does(dtype, rng):
    x = normal(rng, (7, 5), dtype)
    job, plain = (job_of([Affine(5, _affine, shift=3, factor=0.375)], dtype, 7) for _ in range(2))
    y, expected = np.zeros_like(x), np.zeros_like(x)
    run_job(job, x, y)
    plain.x, plain.y, plain.rows = x.reshape(-1), expected.reshape(-1), 7
    record = plain.program.records[0]
    for first in range(0, 7, 3):  # the block of rows that the phase has
        _affine.function(FORWARD, record, plain, first, min(3, 7 - first), first)
    assert_same_bits(y, expected)
    assert_same_bits(job.work, plain.work)
    np.testing.assert_allclose(y, 7 * (0.375 * x.astype(np.float64) + 3), rtol=1e-6)


def test_two_blocks_of_one_name_do_not_mix(dtype):
    x = np.ones((4, 2), dtype)
    for ops, expected in (
        ([Affine(2, _affine, shift=1, factor=2.0)], 3 * 4),
        ([Affine(2, _other, shift=5)], 5),
        ([Affine(2, _affine, shift=1, factor=2.0), Affine(2, _other, shift=7)], 12 + 7),
        ([Affine(2, _other, shift=7), Affine(2, _other, shift=-1)], 6),
    ):
        y = np.zeros_like(x)
        run_job(job_of(ops, dtype, 4), x, y)
        assert (y == expected).all()


def test_fields_are_those_of_the_block():
    assert _affine.record.names == (*HEADER, "shift", "factor")
    assert _other.record.names == (*HEADER, "shift")
    assert repr(_affine) == "<block affine>"
    assert isinstance(Linear.block, Block)
    assert Linear.block.record.names[: len(HEADER)] == HEADER


def test_a_block_has_one_address_for_each_dtype(dtype):
    address = _affine.address(dtype)
    assert address == _affine.address(np.dtype(dtype.name)) != 0
    assert address != _other.address(dtype)
    if JIT:
        other = np.dtype(np.float64 if dtype == np.float32 else np.float32)
        assert address != _affine.address(other)
        assert address < 2**63, "it fits into the table"


def both_ways_of_two(dtype):
    """A Linear and a Tanh, forward and back."""
    rng = np.random.default_rng(0)
    op, params = linear_op(normal(rng, (19, 33), dtype), normal(rng, 33, dtype))
    return ran_both_ways([op, fm.Tanh()._ops(33)[0]], normal(rng, (9, 19), dtype), normal(rng, (9, 33), dtype), params)


ANOTHER = """
import importlib.util, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
spec = importlib.util.spec_from_file_location("test_block", sys.argv[2])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
for name in ("float32", "float64"):
    ran = module.both_ways_of_two(np.dtype(name))
    np.savez(f"{sys.argv[3]}/{name}.npz", y=ran.y, dx=ran.dx, grads=ran.grads)
from fastmlp.kernels.compiler.jit import history
print(*sorted({entry.name for entry in history if entry.compiled}))
"""


@jit_only
def test_a_block_from_the_cache_is_the_block(tmp_path):
    """Here, where it has been compiled now or earlier, and in another process, where it is loaded: the same numbers."""
    here = {name: both_ways_of_two(np.dtype(name)) for name in ("float32", "float64")}
    compiled = run_python(ANOTHER, Path(__file__).parents[1], __file__, tmp_path)
    assert not AVAILABLE or not cache_folder or not compiled.strip(), "nothing is compiled twice"
    for name, ran in here.items():
        with np.load(tmp_path / f"{name}.npz") as file:
            for key, values in file.items():
                assert_same_bits(values, getattr(ran, key))


# What other processes must not see.

OWN = """
import sys
import numpy as np, fastmlp as fm
class Own(fm.Activation):
    @staticmethod
    def value(x): return {factor} * x
    @staticmethod
    def slope(y): return {factor}
print(fm.Sequential(Own())(np.ones((1, 1))).item())
"""


@jit_only
def test_a_formula_that_has_changed_is_not_taken_from_the_cache():
    """Of one name, in two programs, or in one whose author has edited it between two runs."""
    assert [float(run_python(OWN.format(factor=factor))) for factor in (3, 5, 3)] == [3, 5, 3]


@jit_only
def test_blocks_of_the_same_formulas_share_their_machine_code(dtype):
    def made(formula, fixed):
        run = lines_pass(formula, inputs=1)

        @block(f"of-a-test-{fixed}", run)
        def apply(task, op, job, row, rows, at):
            run(rows * fixed, job.work, at, job.work, at, job.work, at)

        return apply.address(dtype)

    first = made(lambda x: x * x + 3, 16)
    assert made(lambda x: x * x + 3, 16) == first
    assert made(lambda x: x * x + 4, 16) != first, "another formula"
    assert made(lambda x: x * x + 3, 32) != first, "another constant of the block"
