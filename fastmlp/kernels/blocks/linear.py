"""The linear layer, ``y = x W + b``, with or without a ReLU behind it. A weight lies as (I, padded O)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.blocks.linear_columns import linear_columns
from fastmlp.kernels.blocks.linear_fields import (
    FIELDS,
    PACKS,
    accumulate_bias_apart,
    apply_gradient,
    bias_of,
    floor_of,
    linear_backward_input,
    linear_backward_relu,
    linear_forward,
    transpose_weight,
    update_bias_apart,
    weight_of,
    zeros_of,
)
from fastmlp.kernels.blocks.linear_relay import linear_relay
from fastmlp.kernels.blocks.linear_row import linear_row
from fastmlp.kernels.blocks.linear_row_update import linear_row_update
from fastmlp.kernels.blocks.linear_wide import TURNED_STRIDE, linear_wide, wide_gradient_rows
from fastmlp.kernels.blocks.optimizers import Update
from fastmlp.kernels.compiler.intrinsics import itemsize_of, least, matrix
from fastmlp.kernels.compiler.jit import inner, plain_loops
from fastmlp.kernels.compiler.processor import REGISTER_BYTES, TILE_ROWS
from fastmlp.kernels.layout import FEATURE_MAJOR_BYTES, row_stride, whole_lines
from fastmlp.kernels.op import (
    ACCUMULATE,
    BACKWARD,
    FORWARD,
    FORWARD_FEATURE_MAJOR,
    PREPARE,
    UNIT,
    UPDATE,
    Memory,
    Op,
)
from fastmlp.kernels.products.matmul import ADJACENT, SAME, matmul, matmul_above
from fastmlp.kernels.products.padding import clear_padding, clear_unwritten
from fastmlp.kernels.products.panels import PANEL_BYTES
from fastmlp.kernels.products.tile import TURNS
from fastmlp.kernels.products.transpose import transpose

__all__ = ["Linear", "linear_backward_input", "linear_backward_params", "linear_forward"]

#: A gradient of about this size is formed and applied together: half of the smallest L1 cache around.
GRADIENT_BYTES = 16384

#: For a weight's gradient a tile of few registers (AVX2: 4 rows) takes a quarter of each line of x that it reads, and where x
#: is wide these lie far apart, in each other's way in the L1 cache: so they are copied side by side, of so many rows of the
#: batch at a time, which with a strip of the deltas take 24 KiB. 16 x 1024 entries over 512 rows took 84 GFLOP/s, so 101-109,
#: on a core of a Zen 4 (peak 115); with AVX-512, whose tiles take half a line for three times as long, 116 either way.
PACKED_DEPTH, PACKED_FROM_BYTES = 128, 1024

#: Of inputs and deltas that are not copied so many bytes are gone through at a time, by all tiles of a gradient: they are read
#: from the second-level cache or from further away once, not once for each tile. A step of 4-32-16-4 on 10,000 rows takes two
#: threads of a Zen 3 0.90 times as long so, one 0.95; 16 or 64 KiB make no difference.
DEPTH_BYTES = 32768

#: Rows along the vectors pay where the multiply-adds, times this, are still fewer than with the features along them.
FEATURE_MAJOR_PAYS_FROM = 1.15


@inner
def linear_forward_feature_major(op, job, rows, at):
    """The same with the rows of the batch along the vectors, and the weights read one by one.

    Along a vector of 16, 25 features take the room of 32; along it the other way, 48 rows take that of 48. For 2-25-25-25-2
    that is a third fewer multiply-adds. Each number is the same chain of multiply-adds, so results agree to the bit.

    Only for passes forward that keep nothing: a weight's gradient wants the deltas of a row side by side, and by count of
    instructions transposing them would cost what is gained.
    """
    columns = FEATURE_MAJOR_BYTES // itemsize_of(job.work)
    x = matrix(job.work, op.x + at * op.x_stride, op.width_in, columns)
    y = matrix(job.work, op.y + at * op.y_stride, op.width_out, columns)
    bias = bias_of(op, job)
    weight = weight_of(op, job)
    floor = floor_of(op, job)
    matmul_above(y, bias, ADJACENT, SAME, weight, ADJACENT, op.y_stride, x, rows, op.width_in, floor)


@inner
def linear_backward_input_at_once(op, job, dx, dy):
    """``dx = dy @ weight.T`` without the transposed copy of the weight, which is worth its time for many rows only.

    The deltas are transposed instead, and the weights are read one by one: ``dx.T = weight @ dy.T``. Each number is the same
    chain of multiply-adds.
    """
    rows, w = dy.shape[0], job.work
    lanes = REGISTER_BYTES // itemsize_of(w)
    zero = w.dtype.type(0)
    for row in range(0, rows, FEATURE_MAJOR_BYTES // itemsize_of(w)):
        here = least(FEATURE_MAJOR_BYTES // itemsize_of(w), rows - row)
        padded = (here + lanes - 1) // lanes * lanes
        place = job.run.scratch + job.thread * job.run.scratch_size
        dy_t = matrix(w, place, op.width_out, padded)
        dx_t = matrix(w, place + op.width_out * padded, op.width_in, padded)
        for j in range(op.width_out):
            for n in range(0, padded, lanes):
                for k in range(lanes):  # one store: vectors are computed whole, and what is there may be subnormal
                    dy_t[j, n + k] = zero
            for n in range(here):
                dy_t[j, n] = dy[row + n, j]
        weight, none = weight_of(op, job), w.dtype.type(-np.inf)
        matmul_above(dx_t, zeros_of(op, job), SAME, SAME, weight, op.y_stride, ADJACENT, dy_t, here, op.width_out, none)
        for i in range(op.width_in):
            for n in range(here):
                dx[row + n, i] = dx_t[i, n]


@inner
def gradient_product(op, job, gradient, init, init_row, row, packed_at):
    """``gradient = init + x.T @ dy`` of the rows of the weight from `row` on, some rows of the batch at a time."""
    rows, stride = gradient.shape
    n = 0
    while n == 0 or n < job.rows:
        here = least(op.gradient_depth, job.rows - n)
        x, x_k = matrix(job.work, op.x + n * op.x_stride + row, here, op.x_stride), op.x_stride
        if PACKS and op.packed_rows > 0:
            packed = matrix(job.work, packed_at, here, op.packed_rows)
            for k in range(here):
                for i in range(rows):
                    packed[k, i] = x[k, i]
            x, x_k = packed, op.packed_rows
        dy = matrix(job.work, op.dy + n * stride, here, stride)
        matmul(gradient, init, init_row, x, ADJACENT, x_k, dy, op.width_out, here)
        init, init_row = gradient, stride
        n += here


@inner
def linear_backward_params(op, job, gradient, scratch_at, row):
    """``dweight = x.T @ dy`` over the whole batch, of the rows of the weight from `row` on. 2 N I O flops.

    Each entry is one chain of multiply-adds over the batch, in order, in each form.
    """
    rows, stride = gradient.shape
    zero = zeros_of(op, job)
    if op.transposed_gradient:
        dy = matrix(job.work, op.dy, job.rows, stride)
        x_part = matrix(job.work, op.x + row, job.rows, op.x_stride)
        padded = (rows + UNIT - 1) // UNIT * UNIT
        turned = matrix(job.work, scratch_at + padded * stride, op.width_out, padded)
        matmul(turned, zero, SAME, dy, ADJACENT, stride, x_part, rows, job.rows)
        transpose(gradient, turned, zero, SAME, op.width_out, rows)
        return
    gradient_product(op, job, gradient, zero, SAME, row, scratch_at + rows * stride)
    clear_unwritten(gradient, op.width_out)


@inner
def linear_update(op, job, first, last):
    """Gradient and update of rows ``first .. last`` of the weight, and of its bias (by whoever has the first rows).

    A few whole rows at a time: their gradient, update and transposition (unless each thread transposes all of the weight by
    itself, later) stay in the cache, and memory is read in order. By strips of 48 columns the update alone took 260 us instead
    of 35 (784 x 512, batch 128, where the gradient takes 900).
    """
    stride = op.y_stride
    scratch_at = job.run.scratch + job.thread * job.run.scratch_size
    row = first
    while row < last:
        rows = least(op.gradient_rows, last - row)
        formed = rows + (rows % TILE_ROWS == TILE_ROWS - 1)  # one more, which nobody reads, where it fills a tile
        linear_backward_params(op, job, matrix(job.work, scratch_at, formed, stride), scratch_at, row)
        apply_gradient(op, job, row, rows, scratch_at)
        if op.dx >= 0 and op.weight_t_apart == 0:
            transpose_weight(op, job, row, row + rows)
        row += rows
    if first == 0 and last > 0 and op.bias_apart:
        update_bias_apart(op, job, scratch_at)


@inner
def linear_accumulate(op, job, first, rows):
    """Add the gradient of rows ``first .. first + rows`` of the weight to `grads`, and that of the bias."""
    packed_at = job.run.scratch + job.thread * job.run.scratch_size
    at_once = op.packed_rows if PACKS and op.packed_rows > 0 else rows
    row = 0
    while row < rows:
        here = least(at_once, rows - row)
        gradient = matrix(job.grads, op.weight + (first + row) * op.y_stride, here, op.y_stride)
        gradient_product(op, job, gradient, gradient, op.y_stride, first + row, packed_at)
        clear_padding(gradient, op.width_out)
        row += here
    if first == 0 and rows > 0 and op.bias_apart:
        accumulate_bias_apart(op, job)


@block("linear", **FIELDS)
@plain_loops
def _linear(task, op, job, row, rows, at):
    if task == FORWARD:
        linear_forward(op, job, rows, at)
    elif task == BACKWARD:
        linear_backward_input(op, job, rows, at)
    elif task == UPDATE:
        linear_update(op, job, row, row + rows)
    elif task == FORWARD_FEATURE_MAJOR:
        linear_forward_feature_major(op, job, rows, at)
    elif task == ACCUMULATE:
        linear_accumulate(op, job, row, rows)
    elif task == PREPARE:
        transpose_weight(op, job, row, row + rows)


@block("linear_derivatives", **FIELDS)
@plain_loops
def _linear_derivatives(task, op, job, row, rows, at):
    """Deltas of a few rows back, and derivatives forward: a quarter of a second that a first `fit` need not compile."""
    if task == FORWARD:
        linear_forward(op, job, rows, at)
    elif task == BACKWARD:
        linear_backward_relu(op, job, rows, at)
        if op.dx >= 0:
            dx = matrix(job.work, op.dx + at * op.x_stride, rows, op.x_stride)
            dy = matrix(job.work, op.dy + at * op.y_stride, rows, op.y_stride)
            linear_backward_input_at_once(op, job, dx, dy)


class Linear(Op):
    """``y = x @ weight + bias``: `weight` and `bias` are where these begin in the parameters, `bias` -1 where there is none."""

    block: Block = _linear
    row_block = linear_row
    columns_block = linear_columns
    wide_block = linear_wide
    relay_block = linear_relay
    derivative_block = _linear_derivatives
    name = "linear"
    reads_x_backward = True
    has_parameters = True

    def __init__(self, width_in: int, width_out: int, weight: int, bias: int):
        super().__init__(width_in, width_out)
        self.weight, self.bias, self.fused_relu = weight, bias, False
        self.flops = 2 * width_in * width_out

    def absorb(self, following: Op) -> bool:
        """A ReLU costs next to nothing in the tile."""
        if self.fused_relu or following.floor != 0:
            return False
        self.fused_relu, self.name, self.reads_y_backward = True, f"{self.name}+{following.name}", True
        return True

    def costs(self, lanes: int) -> tuple[int, float]:
        return self.width_in * -(-self.width_out // lanes), FEATURE_MAJOR_PAYS_FROM * self.width_in * self.width_out

    def tasks(self, record: Any) -> set[int]:
        if self.wide:
            return {FORWARD, UPDATE, ACCUMULATE} | ({BACKWARD} if record.dy >= 0 else set())
        return {FORWARD, FORWARD_FEATURE_MAJOR, UPDATE, ACCUMULATE} | (
            {BACKWARD, PREPARE} if record.dx >= 0 else {BACKWARD} if self.fused_relu and record.dy >= 0 else set()
        )

    def tangent(self, record: Any) -> list[tuple[dict[str, int], int]]:
        product = {"x": record.dx, "y": record.dy, "has_bias": 0, "units": 0, "fused_relu": 0}
        relu = {"dx": -1}  # the way back of the ReLU alone
        return [(product, FORWARD), *([(relu, BACKWARD)] if self.fused_relu else [])]

    def relays(self, dtype: np.dtype) -> bool:
        """Where its gradient stays in the first-level cache."""
        size = (self.width_in + 1) * row_stride(self.width_out, dtype) * dtype.itemsize
        return not self.wide and size <= GRADIENT_BYTES

    def row_block_with(self, update: Op) -> Block | None:
        return linear_row_update(update.update, update.scalars) if isinstance(update, Update) and not update.states else None

    def lay_out(self, record: Any, memory: Memory) -> None:
        record.weight, record.bias, record.has_bias = self.weight, max(self.bias, 0), self.bias >= 0
        record.fused_relu = self.fused_relu
        record.units = self.width_in
        if memory.gradients:
            self._lay_out_gradient(record, memory)
        elif self.wide:
            record.bias_apart = self.bias >= 0
            memory.want_scratch(int(PANEL_BYTES) // memory.dtype.itemsize * self.width_in)
        elif memory.backward:
            memory.want_scratch((self.width_in + self.width_out) * (FEATURE_MAJOR_BYTES // memory.dtype.itemsize))

    def _lay_out_gradient(self, record: Any, memory: Memory) -> None:
        lanes, stride = memory.lanes, record.y_stride
        together = self.bias == self.weight + self.width_in * stride and record.x_stride > self.width_in
        record.units += together
        record.bias_apart = self.bias >= 0 and not together
        if self.wide:
            self._lay_out_panels(record, memory)
            return
        rows = record.gradient_rows = max(1, GRADIENT_BYTES // int(UNIT * stride * memory.dtype.itemsize)) * UNIT
        # In lines of multiply-adds for each row of the batch; transposing it back costs something too. Rows of a kibibyte have
        # a line more, which no square would fill.
        direct, turned = record.units * -(-self.width_out // lanes), self.width_out * -(-record.units // lanes)
        transposed = 3 * turned < 2 * direct and stride == whole_lines(self.width_out, memory.dtype)
        record.transposed_gradient = transposed
        if record.dx >= 0:
            size = whole_lines(self.width_out, memory.dtype) * record.x_stride
            record.weight_t = memory.take(size)
            if memory.copies:
                record.weight_t_apart = size + memory.apart
                memory.take((memory.threads - 1) * record.weight_t_apart)
        if memory.relays:  # all rows at once, in whole squares of a transposed gradient
            units = (record.units + int(UNIT) - 1) // int(UNIT) * int(UNIT)
            record.relay, record.relay_bias = memory.take(units * stride), memory.take(stride)
            memory.want_scratch(units * (stride + transposed * self.width_out))
        depth = DEPTH_BYTES // ((record.x_stride + stride) * memory.dtype.itemsize)
        record.gradient_depth = max(PACKED_DEPTH, depth // TURNS * TURNS)
        if not PACKS and depth < PACKED_DEPTH:  # a tile of eight rows reads a quarter as much, and C would come and go
            record.gradient_depth = memory.batch
        if PACKS and not transposed and record.x_stride * memory.dtype.itemsize >= PACKED_FROM_BYTES:
            record.packed_rows, record.gradient_depth = rows, PACKED_DEPTH
        memory.want_scratch(rows * (stride + max(transposed * self.width_out, PACKED_DEPTH * (record.packed_rows > 0))))

    def _lay_out_panels(self, record: Any, memory: Memory) -> None:
        stride, width = record.y_stride, int(PANEL_BYTES) // memory.dtype.itemsize
        if self.has_parameters:
            record.panel_rows = memory.batch
            record.panels = memory.take(-(-self.width_out // width) * width * memory.batch)
        rows = record.gradient_rows = wide_gradient_rows(stride * memory.dtype.itemsize)
        memory.want_scratch(rows * (stride + PACKS * TURNED_STRIDE))
        memory.want_scratch(width * max(self.width_in, whole_lines(self.width_out, memory.dtype)))
