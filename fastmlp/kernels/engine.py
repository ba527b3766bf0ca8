"""The engine: walks a program over the rows of a batch, and trains for many steps in one call.

A *program* is a table of integers (:mod:`fastmlp.program` writes it): one row per operation, with widths and offsets into
the flat parameters and into one flat workspace. So one compiled engine per dtype serves every network.

A training step has two phases, and threads meet after each. In the first a thread takes rows of the batch, a block at a
time, through all layers, the loss, and back to the first delta. In the second it takes rows of every weight, forms their
gradient over the whole batch, and updates them while they are hot. No sum depends on the number of threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmlp.kernels.activations import activation_backward, activation_forward, copy
from fastmlp.kernels.compiler.intrinsics import matrix, vector
from fastmlp.kernels.compiler.jit import announced, inner, kernel
from fastmlp.kernels.linear import bias_backward, linear_backward_input
from fastmlp.kernels.losses import (
    CROSS_ENTROPY,
    LOSS_ROWS,
    SPARE_ROWS,
    cross_entropy_backward,
    cross_entropy_forward,
    loss_sum,
    mse_backward,
    mse_forward,
)
from fastmlp.kernels.products.matmul import ADJACENT, SAME, clear_unwritten, matmul, matmul_above
from fastmlp.kernels.products.transpose import transpose
from fastmlp.kernels.shuffle import shuffle
from fastmlp.kernels.threads import ROW_TASKS, WEIGHT_TASKS, barrier, next_task
from fastmlp.kernels.updates import sgd_step

# Operation codes: 0 here, the others in activations.py.
LINEAR = 0

# Columns of the table of operations. Offsets are into the workspace, except those of WEIGHT and BIAS. A stride is a padded
# width. The delta of an operation's output has the layout of the output. No input gradient is wanted where DX is -1.
(
    CODE,
    IN,
    OUT,
    X,
    X_STRIDE,
    Y,
    Y_STRIDE,
    DX,
    DY,
    WEIGHT,
    BIAS,
    WEIGHT_T,
    ROWS,  # of the weight, and one more where the bias is trained as a row of it, with an input of one in X's padding
    BIAS_COLUMNS,  # the bias once for each of the rows that lie along the vectors (columns.py)
    BIAS_APART,  # 1 where there is no padding for that
    GRADIENT_ROWS,  # rows whose gradient is formed, applied and transposed together, while they are in the L1 cache
    TURNED,  # 1 where the gradient is cheaper to form transposed: few outputs
    MERGED,  # 1 for a linear operation that also does the ReLU behind it, and for that ReLU
) = range(18)
OP_SIZE = 18

# Places in the plan: sizes and offsets of one program and batch size.
(
    BATCH,  # rows the workspace has room for
    BLOCK,  # rows a thread carries through the layers at a time
    INPUT,  # the batch: offset, padded width, width
    INPUT_STRIDE,
    INPUT_WIDTH,
    OUTPUT,  # the network's output: offset, padded width, width
    OUTPUT_STRIDE,
    OUTPUT_WIDTH,
    OUTPUT_DELTA,
    KEEP,  # 1 where a pass forward keeps what the way back needs
    INPUT_DELTA,  # where the input's gradient is wanted: 0 in training
    ROW_COST,  # of a pass forward for each row, in vectors of multiply-adds, features along the vectors
    COLUMN_COST,  # for each vector of rows, where the rows lie along them (columns.py); 0 where they may not
    LOSS,  # code of the loss
    TARGETS,  # gathered targets of a regression, laid out as the output
    LOSSES,  # per row
    ZERO,  # a row of zeros, as wide as the widest layer
    ZERO_STRIDE,
    ONE,  # a line that begins with 1
    SCRATCH,  # per thread: gradients, or a transposed gradient and what becomes of it, or the columns of a loss
    SCRATCH_SIZE,
) = range(21)
PLAN_SIZE = 21

# Rows narrower than this are gathered column by column: copying 100 rows of 2 one by one takes 4 us, so it takes 0.3.
NARROW = 16

# Threads share the rows of a batch in units of two tiles, and the rows of a weight in units of the line that a row becomes in
# the transposed copy. (Typed: see matmul.py.)
BATCH_UNIT, WEIGHT_UNIT = np.int64(16), np.int64(16)

# One in so many units is nobody's: whoever is done with its own takes the next. The cores of a busy or virtual machine differ
# by a tenth from one step to the next, and all would wait for the slowest.
POOL = np.int64(4)

# Places in `run`: what one call is to do, and how far it came.
SEED, SHUFFLE, EPOCH_ROWS, FIRST_EPOCH, FIRST_BATCH, BATCHES, STEPS, STEPS_DONE, NOT_FINITE = range(9)
RUN_SIZE = 9


class Job(NamedTuple):
    """The arrays of one training run. T is the dtype of the parameters; everything is flat and C-contiguous."""

    ops: np.ndarray  # int64 (operations, OP_SIZE)
    plan: np.ndarray  # int64 (PLAN_SIZE)
    run: np.ndarray  # int64 (RUN_SIZE), in/out
    params: np.ndarray  # T (P), in/out
    velocity: np.ndarray  # T (P), or empty without momentum, in/out
    hyper: np.ndarray  # T (epochs touched, HYPER_SIZE)
    work: np.ndarray  # T, workspace
    labels_work: np.ndarray  # int64, workspace
    x: np.ndarray  # T (rows * INPUT_WIDTH)
    targets: np.ndarray  # T (rows * OUTPUT_WIDTH), or empty
    labels: np.ndarray  # int64 (rows), or empty
    order: np.ndarray  # int64 (rows), in/out
    epoch_losses: np.ndarray  # float64 (epochs touched), in/out: sums over rows
    control: np.ndarray  # int64 (CONTROL_SIZE), zero on entry


@inner
def floor_of(op, params):
    """What the outputs of a linear operation are not to fall below."""
    return params.dtype.type(0) if op[MERGED] else params.dtype.type(-np.inf)


@inner
def forward_rows(ops, params, work, first, rows):
    """Carry rows ``first .. first + rows`` of the batch through all operations."""
    one = work.dtype.type(1)
    for o in range(ops.shape[0]):
        op = ops[o]
        y = matrix(work, op[Y] + first * op[Y_STRIDE], rows, op[Y_STRIDE])
        if op[CODE] == LINEAR:
            x = matrix(work, op[X] + first * op[X_STRIDE], rows, op[X_STRIDE])
            for n in range(rows if op[ROWS] > op[IN] else 0):
                x[n, op[IN]] = one
            weight, bias = matrix(params, op[WEIGHT], op[IN], op[Y_STRIDE]), matrix(params, op[BIAS], 1, op[Y_STRIDE])
            matmul_above(y, bias, SAME, x, op[X_STRIDE], ADJACENT, weight, op[OUT], op[IN], floor_of(op, params))
        elif op[MERGED] == 0:
            flat = vector(work, op[Y] + first * op[Y_STRIDE], rows * op[Y_STRIDE])
            if op[X] != op[Y]:
                copy(flat, vector(work, op[X] + first * op[X_STRIDE], flat.size))
            activation_forward(op[CODE], flat)


@inner
def backward_rows(ops, plan, work, first, rows):
    """Carry the deltas of rows ``first .. first + rows`` back to the first operation that needs one."""
    for o in range(ops.shape[0] - 1, -1, -1):
        op = ops[o]
        if op[DX] < 0:
            continue
        size = rows * op[Y_STRIDE]
        if op[CODE] == LINEAR:
            dx = matrix(work, op[DX] + first * op[X_STRIDE], rows, op[X_STRIDE])
            dy = matrix(work, op[DY] + first * op[Y_STRIDE], rows, op[Y_STRIDE])
            weight_t = matrix(work, op[WEIGHT_T], op[OUT], op[X_STRIDE])
            linear_backward_input(dx, dy, weight_t, matrix(work, plan[ZERO], 1, op[X_STRIDE]), op[IN], op[OUT])
        else:
            flat = vector(work, op[DX] + first * op[X_STRIDE], size)
            if op[DX] != op[DY]:
                copy(flat, vector(work, op[DY] + first * op[Y_STRIDE], size))
            activation_backward(op[CODE], flat, vector(work, op[Y] + first * op[Y_STRIDE], size))


@inner
def gather(target, at, stride, source, order, width):
    """Copy rows of a C-contiguous `source`, `width` entries each, to rows of `target` that begin at `at`, `stride` apart."""
    if width < NARROW:
        for j in range(width):
            for n in range(order.size):
                target[at + n * stride + j] = source[order[n] * width + j]
    else:
        for n in range(order.size):
            copy(vector(target, at + n * stride, width), vector(source, order[n] * width, width))


@inner
def gather_rows(plan, work, labels_work, x, targets, labels, order, first):
    """Bring the rows named in `order` into the workspace, from its row `first` on, with their labels or targets."""
    gather(work, plan[INPUT] + first * plan[INPUT_STRIDE], plan[INPUT_STRIDE], x, order, plan[INPUT_WIDTH])
    if plan[LOSS] == CROSS_ENTROPY:
        for n in range(order.size):
            labels_work[first + n] = labels[order[n]]
    else:
        gather(work, plan[TARGETS] + first * plan[OUTPUT_STRIDE], plan[OUTPUT_STRIDE], targets, order, plan[OUTPUT_WIDTH])


@inner
def loss_rows(plan, work, labels_work, first, rows, batch, thread):
    """The losses of rows ``first .. first + rows`` and the deltas of the network's output."""
    offset, width, stride = first * plan[OUTPUT_STRIDE], plan[OUTPUT_WIDTH], plan[OUTPUT_STRIDE]
    losses = vector(work, plan[LOSSES] + first, rows)
    output = matrix(work, plan[OUTPUT] + offset, rows, stride)
    delta = matrix(work, plan[OUTPUT_DELTA] + offset, rows, stride)
    one = work.dtype.type(1)
    if plan[LOSS] == CROSS_ENTROPY:
        labels = vector(labels_work, first, rows)
        columns = matrix(work, plan[SCRATCH] + thread * plan[SCRATCH_SIZE], width + SPARE_ROWS, LOSS_ROWS)
        cross_entropy_forward(losses, delta, output, labels, columns, width)
        cross_entropy_backward(delta, labels, one / work.dtype.type(batch))
    else:
        mse_forward(losses, delta, output, matrix(work, plan[TARGETS] + offset, rows, stride), width)
        mse_backward(delta, work.dtype.type(2) / work.dtype.type(batch * width))


@inner
def share(size, unit, thread, threads):
    """What is to be done by one thread of ``0 .. size``, in whole units: from, to; and what is nobody's begins there."""
    if threads == 1:  # saves the divisions of every layer, which a batch of one row feels
        return np.int64(0), size, size
    units = (size + unit - 1) // unit
    units -= units // POOL
    first = units * thread // threads * unit
    last = units * (thread + 1) // threads * unit
    return first, min(last, size), min(units * unit, size)


@inner
def weight_gradient(plan, op, work, gradient, scratch_at, zero, row, batch):
    """The gradient of one weight from its row `row` on, over the whole batch.

    Each entry is one chain of multiply-adds over the batch, in order, in either form.
    """
    rows, stride = gradient.shape
    dy = matrix(work, op[DY], batch, stride)
    x_part = matrix(work, op[X] + row, batch, op[X_STRIDE])
    if op[TURNED]:
        padded = (rows + WEIGHT_UNIT - 1) // WEIGHT_UNIT * WEIGHT_UNIT
        turned = matrix(work, scratch_at + padded * stride, op[OUT], padded)
        matmul(turned, zero, SAME, dy, ADJACENT, stride, x_part, rows, batch)
        transpose(gradient, turned, zero, SAME, op[OUT], rows)
    else:
        matmul(gradient, zero, SAME, x_part, ADJACENT, op[X_STRIDE], dy, op[OUT], batch)
        clear_unwritten(gradient, op[OUT])


@inner
def update_weight(plan, op, params, velocity, work, hyper, first, last, batch, thread):
    """Gradient and update of rows ``first .. last`` of one weight, and of its bias (by whoever has the first rows).

    A few whole rows at a time: their gradient, update and transposition stay in the cache, and memory is read in order. By
    strips of 48 columns the update alone took 260 us instead of 35 (784 x 512, batch 128, where the gradient takes 900).
    """
    stride = op[Y_STRIDE]
    scratch_at = plan[SCRATCH] + thread * plan[SCRATCH_SIZE]
    zero = matrix(work, plan[ZERO], 1, plan[ZERO_STRIDE])
    for row in range(first, last, op[GRADIENT_ROWS]):
        rows = min(op[GRADIENT_ROWS], last - row)
        gradient = matrix(work, scratch_at, rows, stride)
        weight_gradient(plan, op, work, gradient, scratch_at, zero, row, batch)
        update_flat(params, velocity, vector(work, scratch_at, rows * stride), hyper, op[WEIGHT] + row * stride)
        if op[DX] >= 0:
            weight = matrix(params, op[WEIGHT], op[IN], stride)
            transpose(matrix(work, op[WEIGHT_T], op[OUT], op[X_STRIDE]), weight, zero, row, min(row + rows, op[IN]), op[OUT])
    if first == 0 and last > 0 and op[BIAS_APART]:
        gradient = matrix(work, scratch_at, 1, stride)
        bias_backward(gradient, zero, matrix(work, op[DY], batch, stride), matrix(work, plan[ONE], 1, 1), op[OUT])
        clear_unwritten(gradient, op[OUT])
        update_flat(params, velocity, vector(work, scratch_at, stride), hyper, op[BIAS])


@inner
def update_pool(job, hyper, batch, thread, threads, asked):
    """Update the rows of weights that are nobody's, as one of those who are done with their own; return `asked` grown."""
    tasks = 0
    task = next_task(job.control, WEIGHT_TASKS, asked)
    for o in range(job.ops.shape[0]):
        op = job.ops[o]
        if op[CODE] == LINEAR:
            _, _, pool = share(op[ROWS], WEIGHT_UNIT, thread, threads)
            here = (op[ROWS] - pool + WEIGHT_UNIT - 1) // WEIGHT_UNIT
            while task < tasks + here:
                row = pool + (task - tasks) * WEIGHT_UNIT
                last = min(row + WEIGHT_UNIT, op[ROWS])
                update_weight(job.plan, op, job.params, job.velocity, job.work, hyper, row, last, batch, thread)
                task = next_task(job.control, WEIGHT_TASKS, asked)
            tasks += here
    return asked + tasks + threads


@inner
def update_flat(params, velocity, grads, hyper, at):
    """The optimizer on the parameters that begin at `at`."""
    if velocity.size == 0:
        sgd_step(vector(params, at, grads.size), velocity, grads, hyper)
    else:
        sgd_step(vector(params, at, grads.size), vector(velocity, at, grads.size), grads, hyper)


@inner
def transpose_weights(ops, plan, params, work, thread, threads):
    """Fill the transposed copies from the parameters as they are when a call begins."""
    for o in range(ops.shape[0]):
        op = ops[o]
        if op[CODE] == LINEAR and op[DX] >= 0:
            units = (op[IN] + WEIGHT_UNIT - 1) // WEIGHT_UNIT
            first, last = units * thread // threads * WEIGHT_UNIT, units * (thread + 1) // threads * WEIGHT_UNIT
            last = min(last, op[IN])
            source = matrix(params, op[WEIGHT], op[IN], op[Y_STRIDE])
            target = matrix(work, op[WEIGHT_T], op[OUT], op[X_STRIDE])
            zero = matrix(work, plan[ZERO], 1, plan[ZERO_STRIDE])
            transpose(target, source, zero, first, last, op[OUT])


@inner
def carry(job, start, row, rows, batch, thread):
    """Phase one for rows ``row .. row + rows`` of the batch that begins at place `start` of the order."""
    ops, plan, work = job.ops, job.plan, job.work
    chosen = vector(job.order, start + row, rows)
    gather_rows(plan, work, job.labels_work, job.x, job.targets, job.labels, chosen, row)
    forward_rows(ops, job.params, work, row, rows)
    loss_rows(plan, work, job.labels_work, row, rows, batch, thread)
    backward_rows(ops, plan, work, row, rows)


@announced
@kernel
def train_steps(job, thread, threads):
    """Train for ``run[STEPS]`` steps from batch FIRST_BATCH of epoch FIRST_EPOCH on, as one of `threads` threads.

    Each thread calls this with the same job. Steps done and losses are written by thread 0. The run ends early, before the
    update, at a batch whose loss is not finite (NOT_FINITE becomes 1).
    """
    ops, plan, run, work = job.ops, job.plan, job.run, job.work
    epoch, batch_of_epoch = 0, run[FIRST_BATCH]
    transpose_weights(ops, plan, job.params, work, thread, threads)
    meeting = np.int64(1)
    rows_asked = weights_asked = np.int64(0)
    if not barrier(job.control, meeting, threads):
        return
    for _ in range(run[STEPS]):
        if batch_of_epoch == 0 and run[SHUFFLE]:
            if thread == 0:
                shuffle(job.order, run[SEED], run[FIRST_EPOCH] + epoch)
            meeting += 1
            if not barrier(job.control, meeting, threads):
                return
        start = batch_of_epoch * plan[BATCH]
        batch = min(plan[BATCH], run[EPOCH_ROWS] - start)

        first, last, pool = share(batch, BATCH_UNIT, thread, threads)
        for row in range(first, last, plan[BLOCK]):
            carry(job, start, row, min(plan[BLOCK], last - row), batch, thread)
        if threads > 1:
            tasks = (batch - pool + BATCH_UNIT - 1) // BATCH_UNIT
            task = next_task(job.control, ROW_TASKS, rows_asked)
            while task < tasks:
                row = pool + task * BATCH_UNIT
                carry(job, start, row, min(BATCH_UNIT, batch - row), batch, thread)
                task = next_task(job.control, ROW_TASKS, rows_asked)
            rows_asked += tasks + threads
        meeting += 1
        if not barrier(job.control, meeting, threads):
            return

        loss = loss_sum(vector(work, plan[LOSSES], batch))
        if not np.isfinite(loss):
            run[NOT_FINITE] = 1
            return
        hyper = job.hyper[epoch]
        for o in range(ops.shape[0]):
            if ops[o, CODE] == LINEAR:
                first, last, _ = share(ops[o, ROWS], WEIGHT_UNIT, thread, threads)
                update_weight(plan, ops[o], job.params, job.velocity, work, hyper, first, last, batch, thread)
        if threads > 1:
            weights_asked = update_pool(job, hyper, batch, thread, threads, weights_asked)
        if thread == 0:
            job.epoch_losses[epoch] += loss
            run[STEPS_DONE] += 1
        batch_of_epoch += 1
        if batch_of_epoch == run[BATCHES]:
            batch_of_epoch = 0
            epoch += 1
        meeting += 1
        if not barrier(job.control, meeting, threads):
            return
