"""Lowers a network to the table of integers that the engine walks (:mod:`fastmlp.kernels.engine`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastmlp.kernels import engine
from fastmlp.kernels.activations import RELU
from fastmlp.kernels.columns import COLUMNS_BYTES
from fastmlp.kernels.compiler.processor import REGISTER_BYTES
from fastmlp.kernels.layout import lanes_per_line, row_stride, whole_lines, zeros
from fastmlp.kernels.losses import LOSS_ROWS, SPARE_ROWS
from fastmlp.parameters import Parameter

__all__ = ["Program", "Workspace"]

#: Rows that a thread carries through the layers at a time: these, or more while a block touches no more than BLOCK_BYTES. A
#: step of the disc network on 100 rows takes 23.7 us with 16, 21.5 with 32, 19.9 with 64, 19.0 with all at once; wide layers
#: don't care between 32 and 128, but what a block touches is to stay in the L2 cache.
BLOCK_ROWS, BLOCK_BYTES = 64, 2**18

#: Rows along the vectors pay where the multiply-adds, times this, are still fewer than with the features along them.
COLUMNS_PAY_FROM = 1.15

#: A gradient of about this size is formed and applied together: half of the smallest L1 cache around.
GRADIENT_BYTES = 16384


@dataclass(slots=True)
class Workspace:
    """Memory for one program and one number of rows: activations, deltas, transposed weights, the loss."""

    table: np.ndarray  # the two that follow, in one piece
    plan: np.ndarray
    ops: np.ndarray
    work: np.ndarray
    labels: np.ndarray
    width: int  # of the output
    flops_per_row: int


class Program:
    """The operations of a network, in order, before any memory is laid out for them.

    A module adds its own through :meth:`linear` and :meth:`activation`.
    """

    def __init__(self, width: int, dtype: np.dtype):
        self.dtype = dtype
        self.width_in = self.width_out = width
        self.flops_per_row = 0
        self._ops: list[dict[str, int]] = []

    def __len__(self) -> int:
        return len(self._ops)

    def linear(self, weight: Parameter, bias: Parameter, has_bias: bool) -> None:
        """``y = x W + b``."""
        out = weight.shape[0]
        self._ops.append(
            {"code": engine.LINEAR, "in": self.width_out, "out": out, "weight": weight.offset, "bias": bias.offset}
            | {"has_bias": int(has_bias), "bias_follows": int(bias.offset == weight.offset + weight.size)}
        )
        self.flops_per_row += 2 * self.width_out * out
        self.width_out = out

    def activation(self, code: int) -> None:
        """An elementwise function."""
        self._ops.append({"code": code, "in": self.width_out, "out": self.width_out})

    def lay_out(self, batch: int, *, loss: int = 0, threads: int = 0, input_delta: bool = False) -> Workspace:
        """Lay out the memory for `batch` rows.

        With a `loss`, for training on `threads` threads; with `input_delta`, for passes forward and back to the gradient of
        the input; else for passes forward.
        """
        memory = _Memory(self.dtype)
        backward = loss != 0 or input_delta
        stride = row_stride(self.width_in, self.dtype)
        whole = np.zeros(engine.PLAN_SIZE + len(self._ops) * engine.OP_SIZE, np.int64)
        plan, table = whole[: engine.PLAN_SIZE], whole[engine.PLAN_SIZE :].reshape(-1, engine.OP_SIZE)
        plan[engine.BATCH], plan[engine.LOSS] = batch, loss
        plan[engine.INPUT], plan[engine.INPUT_STRIDE] = memory.take(batch * stride), stride
        plan[engine.INPUT_WIDTH] = self.width_in

        x, dx = plan[engine.INPUT], memory.take(batch * stride) if input_delta else -1
        plan[engine.INPUT_DELTA] = max(dx, 0)
        previous = None
        for i, (op, row) in enumerate(zip(self._ops, table)):
            out_stride = row_stride(op["out"], self.dtype)
            # An activation works in place on what a linear layer has just left; after another activation it may not,
            # since the derivative of that one reads its output.
            in_place = op["code"] != engine.LINEAR and previous == engine.LINEAR
            y = x if in_place else memory.take(batch * out_stride)
            dy = -1
            if backward:
                dy = dx if in_place else memory.take(batch * out_stride)
            if in_place and op["code"] == RELU:
                table[i - 1 : i + 1, engine.MERGED] = 1
            row[engine.CODE], row[engine.IN], row[engine.OUT] = op["code"], op["in"], op["out"]
            row[engine.X], row[engine.X_STRIDE], row[engine.DX] = x, stride, dx
            row[engine.Y], row[engine.Y_STRIDE], row[engine.DY] = y, out_stride, dy
            if op["code"] == engine.LINEAR:
                row[engine.WEIGHT], row[engine.BIAS] = op["weight"], op["bias"]
                row[engine.ROWS] = op["in"]
                if backward:
                    self._lay_out_gradient(op, row)
                if backward and dx >= 0:
                    row[engine.WEIGHT_T] = memory.take(whole_lines(op["out"], self.dtype) * stride)
            x, dx, stride, previous = y, dy, out_stride, op["code"]

        touched = 2 * self.dtype.itemsize * sum(int(row[engine.Y_STRIDE]) for row in table)
        plan[engine.BLOCK] = max(BLOCK_ROWS, BLOCK_BYTES // max(touched, 1) // BLOCK_ROWS * BLOCK_ROWS)
        plan[engine.OUTPUT], plan[engine.OUTPUT_STRIDE], plan[engine.OUTPUT_WIDTH] = x, stride, self.width_out
        if backward:
            plan[engine.KEEP] = 1
            self._lay_out_backward(plan, memory, dx)
        else:
            self._lay_out_columns(plan, table, memory)
        if loss:
            self._lay_out_training(plan, table, memory, batch, stride, threads)
        work = zeros(memory.size, self.dtype)
        if backward:
            work[plan[engine.ONE]] = 1
        labels = np.zeros(batch if loss else 0, np.int64)
        return Workspace(whole, plan, table, work, labels, self.width_out, self.flops_per_row)

    def _lay_out_gradient(self, op, row) -> None:
        """How the gradient of a linear operation is formed."""
        lanes, unit = lanes_per_line(self.dtype), int(engine.WEIGHT_UNIT)
        stride_in, stride_out = row[engine.X_STRIDE], row[engine.Y_STRIDE]
        together = op["has_bias"] and op["bias_follows"] and stride_in > op["in"]
        row[engine.ROWS] += together
        row[engine.BIAS_APART] = op["has_bias"] and not together
        row[engine.GRADIENT_ROWS] = max(1, GRADIENT_BYTES // (unit * stride_out * self.dtype.itemsize)) * unit
        # In lines of multiply-adds for each row of the batch; turning it back costs something too. Rows of a kibibyte have a
        # line more, which no square would fill.
        direct, turned = row[engine.ROWS] * -(-op["out"] // lanes), op["out"] * -(-row[engine.ROWS] // lanes)
        row[engine.TURNED] = 3 * turned < 2 * direct and stride_out == whole_lines(op["out"], self.dtype)

    def _lay_out_columns(self, plan, table, memory) -> None:
        """What it takes to have the rows along the vectors, and whether that pays."""
        columns, lanes = COLUMNS_BYTES // self.dtype.itemsize, REGISTER_BYTES // self.dtype.itemsize
        linear = table[table[:, engine.CODE] == engine.LINEAR]
        products = linear[:, engine.IN] * linear[:, engine.OUT]
        cost = int(np.sum(linear[:, engine.IN] * -(-linear[:, engine.OUT] // lanes)))
        column_cost = int(COLUMNS_PAY_FROM * products.sum())
        if column_cost < cost * lanes:
            plan[engine.ROW_COST], plan[engine.COLUMN_COST] = cost, column_cost
            for row in table:
                if row[engine.CODE] == engine.LINEAR:
                    row[engine.BIAS_COLUMNS] = memory.take(row[engine.OUT] * columns)

    def _lay_out_backward(self, plan, memory, dy) -> None:
        plan[engine.OUTPUT_DELTA] = dy
        widest = max([self.width_in, *(op["out"] for op in self._ops)])
        plan[engine.ZERO_STRIDE] = row_stride(widest, self.dtype)
        plan[engine.ZERO] = memory.take(plan[engine.ZERO_STRIDE])
        plan[engine.ONE] = memory.take(lanes_per_line(self.dtype))

    def _lay_out_training(self, plan, table, memory, batch, stride, threads) -> None:
        plan[engine.TARGETS] = memory.take(batch * stride)
        plan[engine.LOSSES] = memory.take(batch)
        sizes = [(self.width_out + SPARE_ROWS) * LOSS_ROWS]
        for row in table[table[:, engine.CODE] == engine.LINEAR]:
            sizes.append(row[engine.GRADIENT_ROWS] * (row[engine.Y_STRIDE] + row[engine.TURNED] * row[engine.OUT]))
        plan[engine.SCRATCH_SIZE] = whole_lines(max(sizes), self.dtype)
        plan[engine.SCRATCH] = memory.take(threads * plan[engine.SCRATCH_SIZE])


class _Memory:
    """Hands out parts of a workspace, each beginning on a line."""

    def __init__(self, dtype: np.dtype):
        self.size = 0
        self._dtype = dtype

    def take(self, size: int) -> int:
        start = self.size
        self.size += whole_lines(size, self._dtype)
        return start
