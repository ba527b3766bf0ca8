from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from helpers import assert_within, eps, kept_job, normal, run_job

from fastmlp.kernels.blocks.linear import Linear
from fastmlp.kernels.layout import row_stride
from fastmlp.kernels.op import FORWARD, PREPARE
from fastmlp.program import BLOCK_ROWS, Program


def linears(widths, dtype):
    """Linear ops, their parameters, and the weights as matrices (I, O)."""
    ops, weights, at = [], [], 0
    sizes = [(wide + 1) * row_stride(narrow, dtype) for wide, narrow in pairwise(widths)]
    params = np.zeros(sum(sizes), dtype)
    for (wide, narrow), size in zip(pairwise(widths), sizes):
        stride = row_stride(narrow, dtype)
        params[at : at + size].reshape(-1, stride)[:, :narrow] = normal(np.random.default_rng(at), (wide + 1, narrow), dtype)
        weights.append(params[at : at + wide * stride].reshape(wide, stride)[:, :narrow])
        ops.append(Linear(wide, narrow, at, at + wide * stride))
        at += size
    return ops, params, weights


@pytest.mark.parametrize("widths", [[3, 5, 2], [2, 5, 3], [4, 1], [1, 4], [17, 9, 20]])
def test_jacobian_of_linear_layers_is_the_product_of_their_weights(widths, dtype):
    """Whatever the workspace has been used for; rows of several blocks, each in its place."""
    ops, params, weights = linears(widths, dtype)
    product = np.linalg.multi_dot([*weights, np.eye(widths[-1])]).T
    sizes = np.linalg.multi_dot([*map(np.abs, weights), np.eye(widths[-1])]).T
    for rows in (1, BLOCK_ROWS + 1):
        program = Program.jacobian(ops, np.dtype(dtype), threads=1)
        job = kept_job(program, dtype, params=params)
        x = normal(np.random.default_rng(1), (rows, widths[0]), dtype)
        for _ in range(2):
            y = np.full((rows, widths[-1] * widths[0]), np.nan, dtype)
            run_job(job, x, y)
            ours = y.reshape(rows, widths[-1], widths[0])
            assert_within(ours, np.broadcast_to(product, ours.shape), 4 * sum(widths) * eps(dtype) * sizes)


def test_no_more_inputs_than_outputs_go_forward(dtype):
    for widths, forward in (([2, 5, 3], True), ([3, 5, 2], False), ([3, 5, 3], True)):
        ops, *_ = linears(widths, dtype)
        program = Program.jacobian(ops, np.dtype(dtype), threads=1)
        record = program.records[len(ops) + 1]
        assert (record.forward, record.inputs) == (forward, widths[0])
        tasks = [task for _, task in program.calls[record.first : record.last]]
        assert len(tasks) == len(ops)
        assert (set(tasks) == {FORWARD}) == forward
        assert any(task == PREPARE for _, task in program.calls) != forward
