"""Elementwise functions: one loop forward and one back, for whatever formula."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.compiler.derivative import derivative, scaled
from fastmlp.kernels.compiler.expression import plain, select
from fastmlp.kernels.compiler.lines import lines_pass
from fastmlp.kernels.layout import FEATURE_MAJOR_BYTES, LINE_BYTES
from fastmlp.kernels.op import BACKWARD, FORWARD_FEATURE_MAJOR, Memory, Op

__all__ = ["Elementwise"]


@cache
def elementwise_block(name: str, value: Callable, slope: Callable | None, constants: int) -> Block:
    """The block of ``value(x, *constants)``; `slope` reads x or y, and is derived, by x, where it is None."""
    value = plain(value)
    slope = plain(slope or derivative(value))

    def gradient(dy: Any, saved: Any, *constants: Any) -> Any:
        # Where there is no delta there is none to pass on, be the slope infinite: in the padding, say.
        return select(dy != 0, scaled(dy, slope(saved, *constants)), 0)

    forward = lines_pass(value, inputs=1, outputs=1, constants=constants)
    backward = lines_pass(gradient, inputs=2, outputs=1, constants=constants)

    # Where they lie in the workspace; that the slope reads x or y is no part of the code, which its formulas alone tell apart.
    @block(name, forward, backward, saved=np.int64, constants=np.int64)
    def elementwise(task, op, job, row, rows, at):
        x, y, size = op.x + at * op.x_stride, op.y + at * op.y_stride, rows * op.y_stride
        if task == FORWARD_FEATURE_MAJOR:
            line = LINE_BYTES // job.work.itemsize  # with registers of 32 bytes a feature takes a line and a half
            size = (op.width_out * (FEATURE_MAJOR_BYTES // job.work.itemsize) + line - 1) // line * line
        if task == BACKWARD:
            start, w = at * op.y_stride, job.work
            backward(size, w, op.dy + start, w, op.saved + start, w, op.dx + start, w, op.constants)
        else:
            forward(size, job.work, x, job.work, y, job.work, op.constants)

    return elementwise


class Elementwise(Op):
    """``y = value(x, *constants)`` for each number; beyond the width, too, where nobody reads it."""

    in_place = True
    symmetric = True

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
        self.block = elementwise_block(f"elementwise-{name}", value, slope, len(constants))
        self.reads_x_backward = saves == "x" or slope is None  # a derived one reads x
        self.reads_y_backward = not self.reads_x_backward

    def lay_out(self, record: Any, memory: Memory) -> None:
        record.saved = record.x if self.reads_x_backward else record.y
        record.constants = memory.take_values(self.constants)
