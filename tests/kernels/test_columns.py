"""Rows along the vectors, against rows across them: the same chains of multiply-adds, so the same bits."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits, jit, make_net, normal

import fastmlp as fm
from fastmlp.kernels import engine
from fastmlp.kernels.columns import COLUMNS_BYTES, forward_columns, spread_biases
from fastmlp.kernels.passes import forward_pass
from fastmlp.modules.lowering import try_lower
from fastmlp.program import BLOCK_ROWS


@jit
def by_columns(ops, plan, params, work, out, x, rows):
    spread_biases(ops, params, work)
    forward_columns(ops, plan, params, work, out, x, rows)


def networks(dtype):
    twice = fm.Sequential(fm.ReLU(), fm.Linear(3, 9, bias=False), fm.Tanh(), fm.ReLU(), fm.Linear(9, 1), fm.ReLU(), dtype=dtype)
    twice.reset_parameters(rng=0)
    return [make_net([3, 1, 5], dtype=dtype), make_net([3, 9, 9, 1], "relu", dtype=dtype), twice]


@pytest.mark.parametrize("fraction", ["one", "some", "all but one", "all"])
def test_forward_columns_equals_forward_rows(fraction, dtype, rng):
    columns = COLUMNS_BYTES // np.dtype(dtype).itemsize
    rows = {"one": 1, "some": columns // 2 + 1, "all but one": columns - 1, "all": columns}[fraction]
    x = normal(rng, (rows, 3), dtype)
    for model in networks(dtype):
        space = try_lower(model, 3, model.dtype).lay_out(BLOCK_ROWS)
        assert space.plan[engine.COLUMN_COST] > 0
        expected, out = (np.full((rows, space.width), np.nan, dtype) for _ in range(2))
        by_columns(space.ops, space.plan, model.storage.data, space.work, out.reshape(-1), x.reshape(-1), rows)
        space.plan[engine.COLUMN_COST] = 0  # never
        forward_pass(space.table, model.storage.data, space.work, x, expected)
        assert_same_bits(out, expected)


def test_columns_are_for_narrow_networks(dtype):
    def pay(widths):
        model = make_net(widths, dtype=dtype)
        return try_lower(model, widths[0], model.dtype).lay_out(BLOCK_ROWS).plan[engine.COLUMN_COST] > 0

    assert pay([2, 9, 9, 1])
    assert not pay([64, 256, 256, 16])


def test_a_way_back_has_no_columns():
    model = make_net([2, 25, 2])
    plan = try_lower(model, 2, model.dtype).lay_out(9, input_delta=True).plan
    assert plan[engine.COLUMN_COST] == 0
    assert plan[engine.KEEP] == 1
