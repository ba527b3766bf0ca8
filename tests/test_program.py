from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.kernels import engine
from fastmlp.kernels.layout import row_stride
from fastmlp.modules.lowering import try_lower


def program_of(*modules, width, dtype=np.float32):
    model = fm.Sequential(*modules, dtype=dtype)
    return model, try_lower(model, width, model.dtype)


def parts(space):
    """Every part of the workspace that an operation writes: where it begins and how long it is."""
    rows = int(space.plan[engine.BATCH])
    found = {("input", int(space.plan[engine.INPUT])): rows * int(space.plan[engine.INPUT_STRIDE])}
    for op in space.ops:
        found["y", int(op[engine.Y])] = rows * int(op[engine.Y_STRIDE])
        if op[engine.DY] >= 0:
            found["dy", int(op[engine.DY])] = rows * int(op[engine.Y_STRIDE])
        if op[engine.WEIGHT_T] > 0:
            found["weight_t", int(op[engine.WEIGHT_T])] = int(op[engine.OUT] * op[engine.X_STRIDE])
    return found


@pytest.mark.parametrize("batch", [1, 7, 64])
@pytest.mark.parametrize("loss", [0, 1, 2])
def test_parts_of_the_workspace_do_not_overlap(batch, loss, dtype):
    _, program = program_of(
        fm.Tanh(), fm.Linear(3, 17), fm.ReLU(), fm.Sigmoid(), fm.Linear(17, 5), fm.Linear(5, 2), fm.Tanh(), width=3, dtype=dtype
    )
    space = program.lay_out(batch, loss=loss, threads=2)
    extents = sorted((start, start + size) for (_, start), size in parts(space).items())
    for (_, end), (start, _) in pairwise(extents):
        assert end <= start
    assert extents[-1][1] <= space.work.size
    assert all(start * dtype.itemsize % 64 == 0 for start, _ in extents)
    assert space.work.ctypes.data % 64 == 0


def test_operations_read_what_the_one_before_wrote(dtype):
    model, program = program_of(fm.Linear(3, 17), fm.ReLU(), fm.Linear(17, 2, bias=False), width=3, dtype=dtype)
    space = program.lay_out(8, loss=1, threads=1)
    ops, plan = space.ops, space.plan
    assert ops[:, engine.CODE].tolist() == [engine.LINEAR, fm.ReLU.code, engine.LINEAR]
    assert ops[0, engine.X] == plan[engine.INPUT]
    assert ops[-1, engine.Y] == plan[engine.OUTPUT]
    assert ops[-1, engine.DY] == plan[engine.OUTPUT_DELTA]
    assert ops[0, engine.DX] == -1, "nobody wants the gradient of the input"
    assert ops[1:, engine.X].tolist() == ops[:-1, engine.Y].tolist()
    assert ops[1:, engine.DX].tolist() == ops[:-1, engine.DY].tolist()
    assert ops[1, engine.X] == ops[1, engine.Y], "an activation after a linear layer works in place"
    assert ops[:, engine.ROWS].tolist()[::2] == [4, 17], "the bias is trained as one more row of the weight"
    assert not ops[:, engine.BIAS_APART].any()
    assert ops[0, engine.WEIGHT] == model[0].weight.offset
    assert ops[2, engine.WEIGHT] == model[2].weight.offset
    assert ops[0, engine.BIAS] == model[0].bias.offset
    assert ops[:, engine.Y_STRIDE].tolist() == [row_stride(width, dtype) for width in (17, 17, 2)]


def test_bias_is_trained_apart_where_the_input_has_no_padding(dtype):
    _, program = program_of(fm.Linear(16, 3), width=16, dtype=dtype)
    op = program.lay_out(8, loss=1, threads=1).ops[0]
    assert (op[engine.ROWS], op[engine.BIAS_APART]) == (16, 1)


def test_gradient_of_few_outputs_is_formed_transposed(dtype):
    _, program = program_of(fm.Linear(30, 40), fm.ReLU(), fm.Linear(40, 2), width=30, dtype=dtype)
    assert program.lay_out(8, loss=1, threads=1).ops[:, engine.TURNED].tolist() == [0, 0, 1]


def test_a_relu_is_merged_into_the_linear_layer_before_it():
    modules = fm.Linear(3, 4), fm.ReLU(), fm.ReLU(), fm.Linear(4, 4), fm.Tanh(), fm.Linear(4, 2)
    _, program = program_of(fm.ReLU(), *modules, width=3)
    assert program.lay_out(8).ops[:, engine.MERGED].tolist() == [0, 1, 1, 0, 0, 0, 0]


def test_activation_after_an_activation_is_not_in_place():
    _, program = program_of(fm.Linear(3, 4), fm.ReLU(), fm.Tanh(), width=3)
    ops = program.lay_out(8, loss=1, threads=1).ops
    assert ops[2, engine.X] != ops[2, engine.Y]


def test_prediction_needs_no_memory_for_training():
    _, program = program_of(fm.Linear(30, 48), fm.ReLU(), fm.Linear(48, 32), width=30)
    predicting, training = program.lay_out(64), program.lay_out(64, loss=1, threads=1)
    assert predicting.work.size < training.work.size / 2
    assert predicting.labels.size == 0
    assert training.labels.size == 64


def test_program_counts_flops():
    _, program = program_of(fm.Linear(2, 25), fm.ReLU(), fm.Linear(25, 25), fm.Linear(25, 2), width=2)
    assert program.flops_per_row == 2 * (2 * 25 + 25 * 25 + 25 * 2)
    assert (program.width_in, program.width_out) == (2, 2)


def test_identity_is_no_operation():
    _, program = program_of(fm.Identity(), fm.Linear(2, 3), fm.Identity(), width=2)
    assert len(program.lay_out(1).ops) == 1
