"""Squares of parameters, summed in every step before they change: what an L2 penalty adds to a loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.compiler.intrinsics import least
from fastmlp.kernels.compiler.rows import row_pass
from fastmlp.kernels.op import FORWARD, UNIT, Memory, Op

__all__ = ["Squares"]

#: Sums that there is room for.
SUMS = 2**14

_sum_squares = row_pass(lambda p: p * p, inputs=1)


@block("squares", first=np.int64, length=np.int64, line=np.int64, sums=np.int64, room=np.int64, steps=np.int64)
def _squares(task, op, job, row, rows, at):
    if task == FORWARD and job.step_row == 0:
        units = (job.rows + UNIT - 1) // UNIT
        piece = (op.length // op.line + units - 1) // units * op.line
        sums = op.sums + (job.step - job.run.first_step) * op.room
        for unit in range(row // UNIT, (row + rows + UNIT - 1) // UNIT):
            first = least(unit * piece, op.length)
            size = least(piece, op.length - first)
            _sum_squares(size, job.params, op.first + first, job.work, 0, job.work, sums + unit)
        if row + rows == job.rows:  # a smaller batch
            for unit in range(units, op.room):
                job.work[sums + unit] = 0


class Squares(Op):
    """The sum of the squares of a span of parameters, in `room` parts for each step of a call of at most `steps`.

    It has no phase of its own: the rows of a batch share it out, each 16 of them take a part of the parameters. So no sum
    depends on the number of threads.
    """

    block: Block = _squares
    name = "squares"

    def __init__(self, first: int, size: int):
        super().__init__(0, 0)
        self.first, self.size = first, size

    def tasks(self, record: Any) -> set[int]:
        return {FORWARD}

    def lay_out(self, record: Any, memory: Memory) -> None:
        record.first, record.length, record.line = self.first, self.size, memory.lanes
        record.room = -(-memory.batch // int(UNIT))
        record.steps = max(1, SUMS // record.room)
        record.sums = memory.take(record.steps * record.room)
