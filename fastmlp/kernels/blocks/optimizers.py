"""Parameter updates over flat memory, for whatever formula. Padding is zero in parameters, gradients and state; it stays so."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.compiler.lines import update_pass
from fastmlp.kernels.op import STEP, UPDATE, Memory, Op

__all__ = ["Update"]


@cache
def update_block(name: str, update: Callable, states: int, scalars: int) -> Block:
    """The block of a formula ``update(p, g, *state, *scalars) -> (p, *state)``.

    UPDATE takes `rows` parameters from `row` on, whose gradient lies in the workspace from `at` on; STEP takes units of the
    span that the op has, whose gradient lies in `grads` as the parameters do. The arrays of state lie one behind the other, as
    long as the parameters.
    """
    apply = update_pass(update, states, scalars)

    @block(name, apply, first=np.int64, scalars=np.int64)  # of its span; of its scalars in the row of a step
    def optimizer(task, op, job, row, rows, at):
        scalars_at = job.step * job.run.scalars + op.scalars
        if task == UPDATE:
            apply(rows, job.params, row, job.work, at, job.state, row, job.run.params, job.scalars, scalars_at)
        elif task == STEP:
            i = op.first + row
            apply(rows, job.params, i, job.grads, i, job.state, i, job.run.params, job.scalars, scalars_at)

    return optimizer


class Update(Op):
    """An optimizer's formula for a group of parameters, or for a span of them."""

    def __init__(
        self, name: str, update: Callable, states: int, scalars: int, first_scalar: int, first: int = 0, size: int = 0
    ):
        super().__init__(0, 0)
        self.name, self.scalars, self.first_scalar = name, scalars, first_scalar
        self.first, self.size = first, size
        self.block = update_block(f"update-{name}-{states}", update, states, scalars)

    def tasks(self, record: np.record) -> set[int]:
        return {UPDATE, STEP}

    def lay_out(self, record: np.record, memory: Memory) -> None:
        record.first, record.units, record.scalars = self.first, self.size, self.first_scalar
