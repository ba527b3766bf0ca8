"""A step of a narrow network on several threads, without a place where all of them meet.

The gradient of a weight is one chain of multiply-adds over the rows of the batch, whatever the number of threads. Shared by
units, each thread goes through all rows, of which the other cores have most. So here a thread keeps its rows: it takes them
forward and back, then forms their gradient of one layer after the other, each going on from what the thread before has handed
on. The last thread has the sums. It updates a layer and hands it on to all others, which begin the next step with it while the
last one is at the layers above.

Steps on 100 rows, on two cores of a Zen 4 that are near each other, in us: 2-25-25-25-2 with ReLU 12.9 on one thread, 12.0
shared by units, 8.7 so; with tanh 15.1, 13.2, 9.8. Where threads meet after each step, 10.1 and 11.3. What is left is lines
that go from core to core: 1.3 ns each to read, one after the other, and 6 to write what the other one has read; where they are
asked for ahead, to write, they take as long.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block, call
from fastmlp.kernels.compiler.intrinsics import least, vector
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.compiler.processor import TILE_ROWS
from fastmlp.kernels.op import PREPARE, STEP, Op
from fastmlp.kernels.scan import row_sum
from fastmlp.kernels.threads import HANDED_ON, call_off, hand_on, wait_for

__all__ = ["Relay"]


@inner
def take_rows(op, job, first_row, last_row, threads, handed):
    """Take rows of the batch through the calls for them, each with parameters of which `handed` pieces are up to date.

    What is prepared, is prepared once, by each thread for itself. False where the run has been called off.
    """
    place = HANDED_ON + 8 * (threads - 1)
    known = handed if handed == 0 or job.thread == threads - 1 else handed - (op.last - op.middle)
    row = first_row
    while row < last_row:
        rows = least(op.block_rows, last_row - row)
        for c in range(op.first, op.middle):
            chosen = job.calls[c]
            while known < handed and job.calls[op.last - (handed - known)].op <= chosen.op:
                known += 1
                if not wait_for(job.control, place, known):
                    return False
            if chosen.task != PREPARE:
                call(job.ops[chosen.op], chosen.task, job, row, rows, row + job.thread * job.run.apart)
            elif row == first_row:
                call(job.ops[chosen.op], chosen.task, job, np.int64(0), job.ops[chosen.op].units, np.int64(0))
        row += rows
    return known == handed or wait_for(job.control, place, handed)


@inner
def rows_of(job, thread, threads):
    """From which row of the batch to which a thread has them; the last one has some."""
    units = (job.rows + TILE_ROWS - 1) // TILE_ROWS
    last = units * (thread + 1) // threads * TILE_ROWS
    return units * thread // threads * TILE_ROWS, last if thread < threads - 1 else job.rows


@inner
def sum_of_losses(job, threads):
    """That of all rows, which threads have apart: in one order, whatever the number of threads."""
    place = job.run.losses
    if threads > 1:
        place = job.run.scratch + job.thread * job.run.scratch_size
        for thread in range(threads):
            first, last = rows_of(job, thread, threads)
            start = job.run.losses + thread * job.run.apart
            for n in range(first, last):
                job.work[place + n] = job.work[start + n]
    return row_sum(vector(job.work, place, job.rows))


@inner
def take_step(op, job, step, threads):
    """Take part in a step, which is number `step` of a call of the engine, as one of so many threads."""
    thread, last, handed = job.thread, threads - 1, step * (op.last - op.middle)
    first_row, last_row = rows_of(job, thread, threads)
    if not take_rows(op, job, first_row, last_row, threads, handed):
        return
    for c in range(op.middle, op.last):
        handed += 1
        if thread > 0 and not wait_for(job.control, HANDED_ON + 8 * (thread - 1), handed):
            return
        if thread == last and c == op.middle:  # who has been handed something sees what all threads before have written
            loss = sum_of_losses(job, threads)
            if not abs(loss) < np.inf:
                job.run.not_finite = 1
                call_off(job.control)
                return
            job.sums[job.epoch - job.run.first_epoch] += loss
        chosen = job.calls[c]
        call(job.ops[chosen.op], chosen.task, job, first_row, last_row - first_row, first_row + thread * job.run.apart)
        if threads > 1:
            hand_on(job.control, thread, handed)


@block("relay", first=np.int64, middle=np.int64, last=np.int64, block_rows=np.int64)
def _relay(task, op, job, row, rows, at):
    if task == STEP:
        take_step(op, job, row, rows)


class Relay(Op):
    """A whole step. A program fills in the calls: those for rows are first .. middle, the updates middle .. last."""

    block: Block = _relay
    name = "relay"

    def __init__(self) -> None:
        super().__init__(0, 0)

    def tasks(self, record: Any) -> set[int]:
        return {STEP}
