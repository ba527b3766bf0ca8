"""Plans: what calls copy of them, on the stack and beside it, and that they leave them alone."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import JIT, assert_same_bits, make_net, normal

import fastmlp as fm
from fastmlp.kernels.plan import OWN_WORDS, Plan, merged
from fastmlp.program import Program


def plan_of(model, dtype, **options):
    program = Program.predicting(model._route_now().ops(3), dtype, threads=1, batch=8)
    job = program.job()
    job.set(params=model.storage.data)
    return Plan(job, program.constants, **options)


@pytest.mark.once
def test_neighbours_are_one_piece():
    assert merged([(0, 16), (16, 32), (64, 80), (40, 48), (48, 48)]) == [(0, 32), (40, 48), (64, 80)]
    assert merged([(0, 64), (16, 32)]) == [(0, 64)]
    assert merged([]) == []


def test_numbers_of_its_own(dtype):
    model = make_net([3, 5, 2], dtype=dtype)
    assert plan_of(model, dtype, own=(4, 5)).own == (4, 5)
    with pytest.raises(ValueError, match=f"room for {OWN_WORDS} numbers; got {OWN_WORDS + 1}"):
        plan_of(model, dtype, own=tuple(range(OWN_WORDS + 1)))


def test_calls_leave_their_plans_alone(dtype):
    """What they read is shared by all threads. Constants of formulas, ones and zeros are there in each call."""
    model = fm.Sequential(
        *(fm.Linear(3, 20, bias=False, rng=0), fm.LeakyReLU(0.3), fm.LayerNorm(20, elementwise_affine=False), fm.ELU(0.7)),
        *(fm.Linear(20, 2, bias=False, rng=1), fm.Hardtanh(-0.5, 0.25)),
        dtype=dtype,
    )
    p, x = fm.compiled(model), normal(np.random.default_rng(0), (30, 3), dtype)
    before = [(plan.words.copy(), plan.job.work.copy(), plan.job.table.copy()) for plan in p._header.plans]
    for rows in (x, x[0]):
        out, jac = np.empty((*rows.shape[:-1], 2), dtype), np.empty((*rows.shape[:-1], 2, 3), dtype)
        for _ in range(2):
            p.jacobian(rows, out, jac)
            p.vjp(rows, out, rows.copy())
            p.jvp(rows, rows.copy(), out)
            assert_same_bits(p.predict(x), model.predict(x))
    for plan, arrays in zip(p._header.plans, before):
        for array, kept in zip((plan.words, plan.job.work, plan.job.table), arrays):
            assert_same_bits(array, kept)


def test_a_plan_begins_with_the_size_of_its_workspace(dtype):
    plan = plan_of(make_net([3, 5, 2], dtype=dtype), dtype)
    assert plan.words[0] == plan.size == plan.job.work.nbytes
    assert plan.address == plan.words.ctypes.data
    assert JIT or plan.job.handle is plan.job
