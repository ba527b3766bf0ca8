"""Narrow networks the other way round: the rows of a batch lie along the vectors, and the weights are read one by one.

Along a vector of 16, 25 features take the room of 32; along it the other way, 48 rows take that of 48. For 2-25-25-25-2 that
is a third fewer multiply-adds. Each number is the same chain of multiply-adds as in the engine, so results agree to the bit.

Only for passes forward that keep nothing: a weight's gradient wants the deltas of a row side by side, and by count of
instructions turning them would cost what is gained.
"""

from __future__ import annotations

from fastmlp.kernels.activations import activation_forward, copy
from fastmlp.kernels.compiler.intrinsics import matrix, vector
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.compiler.processor import REGISTER_BYTES, TILE_VECTORS
from fastmlp.kernels.engine import (
    BIAS,
    BIAS_COLUMNS,
    CODE,
    IN,
    INPUT,
    INPUT_WIDTH,
    LINEAR,
    MERGED,
    OUT,
    OUTPUT,
    OUTPUT_WIDTH,
    WEIGHT,
    Y_STRIDE,
    X,
    Y,
    floor_of,
)
from fastmlp.kernels.products.matmul import ADJACENT, matmul_above

__all__ = ["COLUMNS_BYTES", "forward_columns", "spread_biases"]

#: What a feature of the rows that go together takes: the width of a tile.
COLUMNS_BYTES = TILE_VECTORS * REGISTER_BYTES


@inner
def fill(target, value):
    """All entries become `value`."""
    for i in range(target.size):
        target[i] = value


@inner
def spread_biases(ops, params, work):
    """Write every bias once for each of the rows that go together: what the sums start from."""
    columns = COLUMNS_BYTES // work.itemsize
    for o in range(ops.shape[0]):
        op = ops[o]
        if op[CODE] == LINEAR:
            bias = vector(params, op[BIAS], op[OUT])
            for i in range(op[OUT]):
                fill(vector(work, op[BIAS_COLUMNS] + i * columns, columns), bias[i])


@inner
def forward_columns(ops, plan, params, work, out, x, rows):
    """Carry `rows` rows, at most COLUMNS_BYTES wide, from `x` (rows I, flat) through the network to `out` (rows O, flat)."""
    columns = COLUMNS_BYTES // work.itemsize
    I, O = plan[INPUT_WIDTH], plan[OUTPUT_WIDTH]
    for j in range(I):
        feature = vector(work, plan[INPUT] + j * columns, rows)
        for n in range(rows):
            feature[n] = x[n * I + j]
    for o in range(ops.shape[0]):
        op = ops[o]
        size = op[OUT] * columns
        y = vector(work, op[Y], size)
        if op[CODE] == LINEAR:
            c, bias = matrix(work, op[Y], op[OUT], columns), matrix(work, op[BIAS_COLUMNS], op[OUT], columns)
            weight = matrix(params, op[WEIGHT], op[IN], op[Y_STRIDE])
            x_matrix, floor = matrix(work, op[X], op[IN], columns), floor_of(op, params)
            matmul_above(c, bias, columns, weight, ADJACENT, op[Y_STRIDE], x_matrix, rows, op[IN], floor)
        elif op[MERGED] == 0:
            if op[X] != op[Y]:
                copy(y, vector(work, op[X], size))
            activation_forward(op[CODE], y)
    for j in range(O):
        feature = vector(work, plan[OUTPUT] + j * columns, rows)
        for n in range(rows):
            out[n * O + j] = feature[n]
