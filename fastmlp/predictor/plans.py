"""How a network becomes what compiled code reads: plans, for one row and for many, forward and both ways."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastmlp import checks
from fastmlp.kernels.plan import STACK_BYTES, Plan
from fastmlp.modules import Module
from fastmlp.modules.route import Route
from fastmlp.parameters import Storage
from fastmlp.program import BLOCK_ROWS, Program

__all__ = ["plans_of", "route_of", "width_of", "width_out"]

#: A call takes a multiple of so many rows through the layers at a time, where it has them: the rows of the tallest tile.
ROWS_TOGETHER = 8


def route_of(model: Module) -> Route:
    """How the engine runs a model, all of it."""
    route = model._route_as_whole()
    if route is None:
        own = [type(model).__name__]
    else:
        own = list(dict.fromkeys(type(part).__name__ for part in route.python_modules()))
        if not own:
            return route
    raise TypeError(
        f"a Predictor needs modules that the engine runs; written in Python: {', '.join(own)} (fastmlp.Activation makes a "
        "module of a formula)"
    )


def width_of(model: Module) -> int:
    """The width of the input."""
    width = model._width_in()
    if width is None:
        raise ValueError(
            f"a Predictor has one width, but {checks.describe(model)} takes inputs of any: put a layer into it that has a "
            "width, a Linear or a Scale"
        )
    return width


def width_out(route: Route, width: int) -> int:
    """The width of the output for inputs of this width."""
    ops = route.ops(width)
    return ops[-1].width_out if ops else width


def plans_of(route: Route, width: int, dtype: np.dtype) -> dict[str, Plan]:
    """The plans of a network, by their names in the header."""

    def plan(program: Program, own: tuple[int, ...] = ()) -> Plan:
        job = program.job()
        job.set(params=(route.storage or Storage.empty(dtype)).data)
        return Plan(job, program.constants, own)

    def rows(batch: int) -> Plan:
        return plan(Program.predicting(route.ops(width), dtype, threads=1, batch=batch))

    def both_ways(batch: int) -> Plan:
        program = Program.differentiating(route.ops(width), dtype, batch=batch)
        return plan(program, program.ends)

    one = Program.of_row(route.ops(width), dtype)
    return {
        "row": plan(one, one.ends),
        "rows": largest_on_stack(rows),
        "row_both_ways": both_ways(1),
        "rows_both_ways": largest_on_stack(both_ways),
    }


def largest_on_stack(plan: Callable[[int], Plan]) -> Plan:
    """A plan for as many rows as a workspace on the stack has room for; for many where it has none."""
    least, most = plan(ROWS_TOGETHER), plan(BLOCK_ROWS)
    if least.size > STACK_BYTES or most.size <= STACK_BYTES:
        return most
    of_a_row = max(1, (most.size - least.size) // (BLOCK_ROWS - ROWS_TOGETHER))
    rows = ROWS_TOGETHER + (STACK_BYTES - least.size) // of_a_row // ROWS_TOGETHER * ROWS_TOGETHER
    while rows > ROWS_TOGETHER and (found := plan(rows)).size > STACK_BYTES:
        rows -= ROWS_TOGETHER
    return found if rows > ROWS_TOGETHER else least
