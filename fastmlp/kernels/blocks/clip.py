"""Gradients made smaller, between their sums over the batch and the update: by their norm, or number by number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.blocks.gradients import CHUNK
from fastmlp.kernels.compiler.expression import maximum, minimum
from fastmlp.kernels.compiler.intrinsics import least
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.compiler.lines import lines_pass
from fastmlp.kernels.compiler.rows import row_pass
from fastmlp.kernels.op import STATISTICS, STEP, UPDATE, Memory, Op

__all__ = ["Clip"]

#: What PyTorch adds to a norm before it divides by it.
TINY = 1e-6

_sum_squares = row_pass(lambda g: g * g, inputs=1)
_scale = lines_pass(lambda g, factor: g * factor, inputs=1, constants=1)
_limit = lines_pass(lambda g, most: minimum(maximum(g, -most), most), inputs=1, constants=1)


@inner
def norm_of(op, job):
    """The norm of all gradients, from the sums of their squares in all chunks, added in order, in float64."""
    total = 0.0
    for i in range(op.chunks):
        total += np.float64(job.work[op.sums + i])
    return np.sqrt(total)


@block(
    "clip",
    first=np.int64,  # of the span of parameters, and how many
    length=np.int64,
    before=np.int64,  # chunks of the spans before it, and of all spans
    chunks=np.int64,
    sums=np.int64,  # offset of the sums of squares
    constant=np.int64,  # offset of a line for each thread
    line=np.int64,
    by_value=np.int64,
    most=np.float64,
)
def _clip(task, op, job, row, rows, at):
    number, first, last = job.work.dtype.type, row * CHUNK, least((row + rows) * CHUNK, op.length)
    if task == STATISTICS:
        for chunk in range(row, row + rows):
            start = chunk * CHUNK
            size = least(CHUNK, op.length - start)
            _sum_squares(size, job.grads, op.first + start, job.work, 0, job.work, op.sums + op.before + chunk)
    else:
        constant = op.constant + job.thread * op.line
        start, size = op.first + first, last - first
        if op.by_value:
            job.work[constant] = number(op.most)
            _limit(size, job.grads, start, job.grads, start, job.work, constant)
        else:
            norm, most = (job.totals[0], job.totals[1]) if task == UPDATE else (norm_of(op, job), op.most)
            factor = most / (norm + TINY)
            if not factor >= 1.0:  # NaN, too, comes into the gradients
                job.work[constant] = number(factor)
                _scale(size, job.grads, start, job.grads, start, job.work, constant)


class Clip(Op):
    """Of a span of parameters, one of several whose norm counts together: `most` for the norm, or for each number.

    STEP takes the norm from the sums of STATISTICS; UPDATE, for gradients of several storages, is told norm and limit.
    """

    block: Block = _clip
    name = "clip"

    def __init__(self, spans: Sequence[tuple[int, int]], number: int, most: float, *, by_value: bool):
        super().__init__(0, 0)
        counts = [-(-(last - first) // int(CHUNK)) for first, last in spans]
        self.first, self.size = spans[number][0], spans[number][1] - spans[number][0]
        self.before, self.own, self.chunks = sum(counts[:number]), counts[number], sum(counts)
        self.most, self.by_value, self.sums = most, by_value, -1

    @staticmethod
    def of(spans: Sequence[tuple[int, int]], most: float, *, by_value: bool) -> list[Clip]:
        """An op for each span: first entry, behind the last entry."""
        return [Clip(spans, number, most, by_value=by_value) for number in range(len(spans))]

    def tasks(self, record: Any) -> set[int]:
        return {STEP} | (set() if self.by_value else {STATISTICS, UPDATE})

    def lay_out(self, record: Any, memory: Memory) -> None:
        record.first, record.length, record.units = self.first, self.size, self.own
        record.before, record.chunks, record.by_value, record.most = self.before, self.chunks, self.by_value, self.most
        record.line = memory.lanes
        record.constant = memory.take(memory.threads * memory.lanes)
        record.sums = memory.shared("sums of squares", self.chunks)
