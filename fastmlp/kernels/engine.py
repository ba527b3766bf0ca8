"""The engine: walks the phases of a program, whatever its ops are, as one of several threads.

A training step has two phases that threads share, and they meet after each. In the first a thread takes rows of the batch, a
block at a time, through all layers, the loss, and back to the first delta. In the second it takes rows of every weight, forms
their gradient over the whole batch, and updates them while they are hot. Where layers are wide, the first is cut into several,
of which some are shared by columns; where they are narrow, threads take whole steps in a way of their own
(:mod:`.blocks.relay`). No sum depends on the number of threads.

A step may take its rows in micro-batches (gradient accumulation): it goes through the first phases for each of them, adding up
gradients, then once through those that apply the sums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastmlp.kernels.block import call
from fastmlp.kernels.compiler.intrinsics import flush_subnormals, itemsize_of, least, restore_rounding, vector
from fastmlp.kernels.compiler.jit import announced, inner, kernel
from fastmlp.kernels.compiler.numba_private import straight
from fastmlp.kernels.compiler.processor import REGISTER_BYTES
from fastmlp.kernels.job import begin
from fastmlp.kernels.op import ALL, EACH, ROWS, UNITS
from fastmlp.kernels.scan import row_sum
from fastmlp.kernels.shuffle import shuffle
from fastmlp.kernels.threads import barrier, is_called_off, next_task

__all__ = ["run", "runner"]


@inner
def share(size, unit, pool, thread, threads):
    """Split range(`size`) between threads in whole units: (first, last) of this thread, and where the pool begins.

    One in `pool` units is nobody's: :func:`next_task` hands it out (dynamic load balancing), since the cores of a busy or
    virtual machine differ by a tenth from one step to the next, and all would wait for the slowest.
    """
    if threads == 1:  # saves the divisions of every layer, which a batch of one row feels
        return np.int64(0), size, size
    units = (size + unit - 1) // unit
    units -= units // pool
    first = units * thread // threads * unit
    last = units * (thread + 1) // threads * unit
    return first, least(last, size), least(units * unit, size)


@inner
def carry(job, phase, start, stop):
    """Take rows ``start .. stop`` of the batch through all calls of a phase, a block at a time."""
    lanes = REGISTER_BYTES // itemsize_of(job.work)
    row = start
    while row < stop:  # not range: the length of one with any step is a division
        rows = least(phase.block, stop - row)
        at = row if job.run.kept else job.thread * job.run.apart
        first, last = phase.first, phase.last
        if phase.lane_cost > 0 and (rows + lanes - 1) // lanes * phase.lane_cost < rows * phase.row_cost:
            first, last = phase.other_first, phase.other_last
        for c in range(first, last):
            chosen = job.calls[c]
            call(job.ops[chosen.op], chosen.task, job, row, rows, at)
        row += rows


@inner
def share_rows(job, phase, threads, asked):
    """Take part in a phase that is shared by rows; return `asked`, grown by what all threads have asked the pool for."""
    first, last, pool = share(job.rows, phase.unit, phase.pool, job.thread, threads)
    carry(job, phase, first, last)
    if threads == 1:
        return asked
    tasks = (job.rows - pool + phase.unit - 1) // phase.unit
    task = next_task(job.control, asked)
    while task < tasks:
        row = pool + task * phase.unit
        carry(job, phase, row, least(row + phase.unit, job.rows))
        task = next_task(job.control, asked)
    return asked + tasks + threads


@inner
def share_units(job, phase, threads, asked):
    """Take part in a phase that is shared by units, those of each op by themselves; return as :func:`share_rows`."""
    for c in range(phase.first, phase.last):
        chosen = job.calls[c]
        op = job.ops[chosen.op]
        first, last, _ = share(op.units, phase.unit, phase.pool, job.thread, threads)
        call(op, chosen.task, job, first, last - first, first)
    if threads == 1:
        return asked
    tasks = np.int64(0)
    task = next_task(job.control, asked)
    for c in range(phase.first, phase.last):
        chosen = job.calls[c]
        op = job.ops[chosen.op]
        _, _, pool = share(op.units, phase.unit, phase.pool, job.thread, threads)
        here = (op.units - pool + phase.unit - 1) // phase.unit
        while task < tasks + here:
            first = pool + (task - tasks) * phase.unit
            call(op, chosen.task, job, first, least(phase.unit, op.units - first), first)
            task = next_task(job.control, asked)
        tasks += here
    return asked + tasks + threads


@inner
def take_part(job, phase, threads, asked):
    """Take part in a phase, as one of `threads`; return as :func:`share_rows`."""
    if phase.kind == ROWS:
        return share_rows(job, phase, threads, asked)
    if phase.kind == UNITS:
        return share_units(job, phase, threads, asked)
    for c in range(phase.first, phase.last):
        chosen = job.calls[c]
        op = job.ops[chosen.op]
        if phase.kind == EACH:
            call(op, chosen.task, job, np.int64(0), op.units, np.int64(0))
        else:
            call(op, chosen.task, job, job.step - job.run.first_step, threads, np.int64(0))
    return asked


@inner
def take_steps(table, number, x, y, thread, threads):
    """What :func:`run` does, however it ends."""
    job = begin(table, x, y, thread)
    plan, chosen = job.run, job.passes[number]
    total = plan.rows if plan.rows > 0 else x.shape[0]
    size = plan.batch if plan.batch > 0 else total
    most = plan.microbatch if plan.microbatch > 0 else size
    batch, epoch = plan.first_batch, np.int64(0)
    first, job.microbatch = chosen.first, 0
    meeting = asked = np.int64(0)
    for step in range(plan.steps):
        if batch == 0 and plan.shuffle:
            if thread == 0:
                shuffle(vector(job.order, 0, x.shape[0]), plan.seed, plan.first_epoch + epoch)
            meeting += 1
            if not barrier(job.control, meeting, threads):
                return
        job.step, job.epoch = plan.first_step + step, plan.first_epoch + epoch
        job.step_rows = least(size, total - batch * size)
        before = batch * size + plan.ordered * (job.epoch - plan.ordered_from)
        loss = weight = 0.0
        row, left = np.int64(0), job.step_rows
        while True:
            job.start, job.step_row = before + row, row
            job.rows = least(most, left)
            row, left = row + most, left - most
            for p in range(first, chosen.last if left <= 0 else chosen.step):
                phase = job.phases[p]
                asked = take_part(job, phase, threads, asked)
                meets = p + 1 < chosen.last or step + 1 < plan.steps
                if phase.kind == EACH:
                    continue
                if phase.kind == ALL:
                    if is_called_off(job.control):
                        return
                    meets = meets and plan.shuffle and batch + 1 == plan.batches
                if meets:
                    meeting += 1
                    if not barrier(job.control, meeting, threads):
                        return
                if phase.sums:
                    weight = job.totals[0]  # now: later, who is ahead may have written that of the next batch
                    loss += row_sum(vector(job.work, plan.losses, job.rows))
                    if not abs(loss) < np.inf and p + 1 < chosen.last:
                        plan.not_finite = 1
                        return
            first = chosen.loop
            job.microbatch += 1
            if left <= 0:
                break
        if thread == threads - 1:
            job.sums[epoch] += loss
            if plan.weighs:
                job.totals[1 + epoch] += weight
            plan.steps_done += 1
            plan.microbatches_done = job.microbatch
        batch += 1
        if batch == plan.batches:
            batch = np.int64(0)
            epoch += 1


@announced
@kernel
def run(table, number, x, y, thread, threads):
    """Go through pass `number` of a program as one of `threads` threads; each calls this with the same arrays.

    ``run.steps`` steps are taken from batch `first_batch` of epoch `first_epoch` on. The last thread writes the steps done and
    the sums of the losses, and of the weights where rows have weights. A run ends early, before the update, at a batch whose
    loss is not finite (`not_finite` becomes 1).
    """
    before = flush_subnormals()  # a network that is sure of its rows has gradients there, and one with dead units momenta
    take_steps(table, number, x, y, thread, threads)
    restore_rounding(before)


def runner(table: Any, x: np.ndarray, y: np.ndarray) -> Callable[..., None]:
    """:func:`run` for a table and arrays of exactly these types, which it does not look at: 0.17 us less."""
    return straight(run, table, 0, x, y, 0, 1)
