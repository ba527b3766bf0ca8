"""Parameter updates over flat memory, for whatever formula.

Padding is zero in parameters and gradients and stays so; in state it is what the formula makes of zeros: with Adamax, its
eps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.compiler.expression import plain, select
from fastmlp.kernels.compiler.lines import update_pass
from fastmlp.kernels.compiler.trial import try_out
from fastmlp.kernels.op import STEP, UPDATE, Memory, Op

__all__ = ["Frozen", "Update", "formula_of"]


@cache
def formula_of(update: Callable, states: int, scalars: int) -> Callable:
    """What is emitted for ``update(p, g, *state, *scalars)``, which has been tried out where it is a user's."""
    if not getattr(update, "__module__", "").startswith("fastmlp."):
        try_out("update", update, 2 + states + scalars, 1 + states)
    return _kept_finite(plain(update), states, scalars)


@cache
def update_block(name: str, update: Callable, states: int, scalars: int) -> Block:
    """The block of a formula ``update(p, g, *state, *scalars) -> (p, *state)``.

    UPDATE takes `rows` parameters from `row` on, whose gradient lies in the workspace from `at` on; STEP takes units of the
    span that the op has, whose gradient lies in `grads` as the parameters do. The arrays of state lie one behind the other, as
    long as the parameters.
    """
    apply = update_pass(formula_of(update, states, scalars), states, scalars)

    @block(name, apply, first=np.int64, scalars=np.int64)  # of its span; of its scalars in the row of a step
    def optimizer(task, op, job, row, rows, at):
        scalars_at = job.step * job.run.scalars + op.scalars
        if task == UPDATE:
            apply(rows, job.params, row, job.work, at, job.state, row, job.run.params, job.scalars, scalars_at)
        elif task == STEP:
            i = op.first + row
            apply(rows, job.params, i, job.grads, i, job.state, i, job.run.params, job.scalars, scalars_at)

    return optimizer


def _kept_finite(update: Callable, states: int, scalars: int) -> Callable:
    """The formula; where it may divide zero by zero, 0 for a parameter whose gradient and state are 0, as in the padding.

    An Adam with an eps of 0, say: fit would find parameters that are not finite in the padding, and nowhere else.
    """

    def numbers(*arguments: Any) -> tuple:
        results = update(*arguments)
        return results if isinstance(results, tuple) else (results,)

    def formula(p: Any, g: Any, *others: Any) -> tuple:
        nothing = (p == 0) & (g == 0)
        for state in others[:states]:
            nothing = nothing & (state == 0)
        return tuple(select(nothing, 0, x) for x in numbers(p, g, *others))

    zeros = [np.zeros(1)] * (2 + states)
    with np.errstate(all="ignore"):
        tried = [numbers(*zeros, *[np.float64(value)] * scalars) for value in (0.0, 0.5, 1.0)]
    return update if all(np.isfinite(np.hstack(x)).all() for x in tried) else formula


class Update(Op):
    """An optimizer's formula for a group of parameters, or for a span of them."""

    def __init__(
        self, name: str, update: Callable, states: int, scalars: int, first_scalar: int, first: int = 0, size: int = 0
    ):
        super().__init__(0, 0)
        self.name, self.scalars, self.first_scalar = name, scalars, first_scalar
        self.first, self.size = first, size
        self.update, self.states = update, states
        self.block = update_block(f"update-{name}-{states}", update, states, scalars)

    def tasks(self, record: Any) -> set[int]:
        return {UPDATE, STEP}

    def lay_out(self, record: Any, memory: Memory) -> None:
        record.first, record.units, record.scalars = self.first, self.size, self.first_scalar


@block("frozen")
def _frozen(task, op, job, row, rows, at):
    pass


class Frozen(Op):
    """What stands in the place of an optimizer's formula for parameters that are not trained."""

    block: Block = _frozen
    name = "frozen"

    def __init__(self) -> None:
        super().__init__(0, 0)

    def tasks(self, record: Any) -> set[int]:
        return {UPDATE}
