"""Elementwise functions: one loop forward and one back, for whatever formula."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.compiler.derivative import derivative, scaled, value_and_derivative
from fastmlp.kernels.compiler.expression import plain, select
from fastmlp.kernels.compiler.lines import lines_pass
from fastmlp.kernels.layout import FEATURE_MAJOR_BYTES, LINE_BYTES
from fastmlp.kernels.op import BACKWARD, FORWARD_FEATURE_MAJOR, Memory, Op

__all__ = ["Elementwise"]


@cache
def elementwise_block(name: str, value: Callable, slope: Callable | None, constants: int, keeps_slope: bool = False) -> Block:
    """The block of ``value(x, *constants)``; a `slope` of None is derived.

    If the block `keeps_slope`, it computes that of x beside the value: LLVM finds what both have in common.
    """
    value, derived = plain(value), slope is None
    slope = plain(slope or derivative(value))

    def value_and_slope(x: Any, *constants: Any) -> tuple[Any, Any]:
        return value_and_derivative(value, x, *constants) if derived else (value(x, *constants), slope(x, *constants))

    def gradient(dy: Any, saved: Any, *constants: Any) -> Any:
        # Where there is no delta there is none to pass on, be the slope infinite: in the padding, say.
        if keeps_slope:
            return select((dy != 0) & (saved != 0), dy * saved, 0)
        return select(dy != 0, scaled(dy, slope(saved, *constants)), 0)

    forward = lines_pass(value, inputs=1, outputs=1, constants=constants)
    both = lines_pass(value_and_slope, inputs=1, outputs=2, constants=constants) if keeps_slope else forward
    backward = lines_pass(gradient, inputs=2, outputs=1, constants=constants)

    # Where they lie in the workspace; that the slope reads x or y is no part of the code, which its formulas alone tell apart.
    @block(name, forward, both, backward, saved=np.int64, constants=np.int64)
    def elementwise(task, op, job, row, rows, at):
        x, y, size = op.x + at * op.x_stride, op.y + at * op.y_stride, rows * op.y_stride
        start, w = at * op.y_stride, job.work
        if task == FORWARD_FEATURE_MAJOR:
            line = LINE_BYTES // job.work.itemsize  # with registers of 32 bytes a feature takes a line and a half
            size = (op.width_out * (FEATURE_MAJOR_BYTES // job.work.itemsize) + line - 1) // line * line
        if task == BACKWARD:
            backward(size, w, op.dy + start, w, op.saved + start, w, op.dx + start, w, op.constants)
        elif keeps_slope and op.saved >= 0:
            both(size, w, x, w, y, w, op.saved + start, w, op.constants)
        else:
            forward(size, w, x, w, y, w, op.constants)

    return elementwise


class Elementwise(Op):
    """``y = value(x, *constants)`` for each number; beyond the width, too, where nobody reads it."""

    in_place = by_rows = symmetric = True

    def __init__(
        self,
        width: int,
        name: str,
        value: Callable,
        slope: Callable | None,
        saves: str,
        constants: tuple[float, ...] = (),
        floor: float | None = None,
    ):
        super().__init__(width, width)
        self.name, self.constants, self.floor = name, constants, floor
        self.value, self.slope = value, slope
        self.saves = "slope" if slope is None else saves
        self.block = elementwise_block(f"elementwise-{name}", value, slope, len(constants), self.saves == "slope")
        self.reads_x_backward = self.saves == "x"
        self.reads_y_backward = self.saves == "y"

    def lay_out(self, record: Any, memory: Memory) -> None:
        if self.saves != "slope":
            record.saved = record.x if self.reads_x_backward else record.y
        else:
            record.saved = memory.take(memory.batch * record.y_stride) if memory.backward else -1
        record.constants = memory.take_values(self.constants)
