"""Gradients that are added up before any is applied: for clipping, and over the micro-batches of a step."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.blocks.vectors import clear
from fastmlp.kernels.compiler.intrinsics import least
from fastmlp.kernels.op import PREPARE, Memory, Op

__all__ = ["CHUNK", "Gradients"]

#: Entries that are shared out together.
CHUNK = np.int64(1024)


@block("gradients", length=np.int64)
def _gradients(task, op, job, row, rows, at):
    if task == PREPARE:
        first = row * CHUNK
        clear(job.grads, first, least(first + rows * CHUNK, op.length) - first)


class Gradients(Op):
    """All of `grads`, so many entries: zero before the first rows of a step."""

    block: Block = _gradients
    name = "gradients"

    def __init__(self, length: int):
        super().__init__(0, 0)
        self.length = length

    def tasks(self, record: Any) -> set[int]:
        return {PREPARE}

    def lay_out(self, record: Any, memory: Memory) -> None:
        record.length, record.units = self.length, -(-self.length // int(CHUNK))
