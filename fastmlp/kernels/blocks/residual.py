"""A residual connection, ``y = x + f(x)``: an op before the ops of f and one behind them, which know of each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.compiler.lines import lines_pass
from fastmlp.kernels.layout import FEATURE_MAJOR_BYTES, LINE_BYTES
from fastmlp.kernels.op import BACKWARD, FORWARD, FORWARD_FEATURE_MAJOR, Memory, Op

__all__ = ["Fork", "Join"]

_add = lines_pass(lambda a, b: a + b, inputs=2)
_copy = lines_pass(lambda x: x, inputs=1)


@block("fork", other=np.int64)  # where the delta of the join's output lies
def _fork(task, op, job, row, rows, at):
    if task == BACKWARD:  # dx = dx of f + dy of the join
        start, w = at * op.y_stride, job.work
        _add(rows * op.y_stride, w, op.dy + start, w, op.other + start, w, op.dx + start, w, 0)


@block("join", skipped=np.int64)  # where the output of the fork lies
def _join(task, op, job, row, rows, at):
    start, size, w = at * op.y_stride, rows * op.y_stride, job.work
    if task == BACKWARD:
        _copy(size, w, op.dy + start, w, op.dx + start, w, 0)
    else:
        if task == FORWARD_FEATURE_MAJOR:
            line = LINE_BYTES // w.itemsize
            size = (op.width_out * (FEATURE_MAJOR_BYTES // w.itemsize) + line - 1) // line * line
        _add(size, w, op.x + start, w, op.skipped + start, w, op.y + start, w, 0)


class Fork(Op):
    """Where x goes two ways: on to the ops of f, and to the join behind them. Nothing is copied."""

    block: Block = _fork
    name = "fork"
    in_place = by_rows = True
    keeps_output = True
    record: Any  # as it is laid out

    def __init__(self, width: int):
        super().__init__(width, width)

    def tasks(self, record: Any) -> set[int]:
        return {BACKWARD} if record.dx >= 0 else set()

    def lay_out(self, record: Any, memory: Memory) -> None:
        self.record = record


class Join(Op):
    """Where f(x) meets x."""

    block: Block = _join
    name = "join"
    by_rows = True

    def __init__(self, fork: Fork):
        super().__init__(fork.width_in, fork.width_in)
        self.fork = fork

    def tasks(self, record: Any) -> set[int]:
        return {FORWARD, FORWARD_FEATURE_MAJOR} | ({BACKWARD} if record.dx >= 0 else set())

    def lay_out(self, record: Any, memory: Memory) -> None:
        record.skipped, self.fork.record.other = self.fork.record.y, record.dy
