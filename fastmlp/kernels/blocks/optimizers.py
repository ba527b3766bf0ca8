"""Parameter updates over flat memory, for whatever formula. Padding is zero in parameters, gradients and state; it stays so."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.compiler.lines import lines_pass
from fastmlp.kernels.op import STEP, UPDATE, Memory, Op

__all__ = ["Update"]


@cache
def update_block(name: str, update: Callable, states: int, scalars: int) -> Block:
    """The block of a formula ``update(p, g, *state, *scalars) -> (p, *state)``.

    UPDATE takes `rows` parameters from `row` on, whose gradient lies in the workspace from `at` on; STEP takes units of the
    span that the op has, whose gradient lies in `grads` as the parameters do.
    """
    formula = lines_pass(update, inputs=2 + states, outputs=1 + states, constants=scalars)
    apply = _apply(formula, states)

    @block(name, formula, first=np.int64, scalars=np.int64)  # of its span; of its scalars in the row of a step
    def optimizer(task, op, job, row, rows, at):
        scalars_at = job.step * job.run.scalars + op.scalars
        if task == UPDATE:
            apply(rows, job, row, job.work, at, scalars_at)
        elif task == STEP:
            apply(rows, job, op.first + row, job.grads, op.first + row, scalars_at)

    return optimizer


def _apply(formula: Callable, states: int) -> Callable:
    """The formula on parameters from `at` on: their arrays of state lie one behind the other, as long as the parameters."""
    from fastmlp.kernels.compiler.jit import inner

    if states == 0:

        def apply(size, job, at, grads, grads_at, scalars_at):
            p, h = job.params, job.scalars
            formula(size, p, at, grads, grads_at, p, at, h, scalars_at)

    elif states == 1:

        def apply(size, job, at, grads, grads_at, scalars_at):
            p, h, s = job.params, job.scalars, job.state
            formula(size, p, at, grads, grads_at, s, at, p, at, s, at, h, scalars_at)

    elif states == 2:

        def apply(size, job, at, grads, grads_at, scalars_at):
            p, h, s = job.params, job.scalars, job.state
            b = at + job.run.params
            formula(size, p, at, grads, grads_at, s, at, s, b, p, at, s, at, s, b, h, scalars_at)

    elif states == 3:

        def apply(size, job, at, grads, grads_at, scalars_at):
            p, h, s = job.params, job.scalars, job.state
            b = at + job.run.params
            c = b + job.run.params
            formula(size, p, at, grads, grads_at, s, at, s, b, s, c, p, at, s, at, s, b, s, c, h, scalars_at)

    else:
        raise ValueError(f"an optimizer has at most 3 arrays of state; got {states}")
    return inner(apply)


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
