"""Forward and backward through a whole network, one compiled call each, in place of a call for every module."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastmlp.kernels import engine
from fastmlp.kernels.passes import backward_pass, forward_pass
from fastmlp.modules.lowering import lower
from fastmlp.modules.module import Module
from fastmlp.parameters import Storage
from fastmlp.program import Program, Workspace

__all__ = ["Passes"]

#: Memory for so many times the rows of a call is kept for smaller calls; beyond that, it is given back.
KEPT = 8


class Passes:
    """The last forward pass of a network, and the way back.

    The numbers are those of its modules called one by one, to the bit. A module that is asked to go back by itself, after the
    network went forward as a whole, gets what it would have kept: :meth:`hand_out`.
    """

    def __init__(self, network: Module, storage: Storage, width: int, dtype: np.dtype):
        self.storage, self.width_in = storage, width
        self.parts = [module for module in network.modules() if module is not network]
        self.program = Program(width, dtype)
        #: Each part with the number of its operation, -1 for one that has none, and the width of its output.
        self._places: list[tuple[Module, int, int]] = []
        for module, inner in _with_inner(network):
            before = len(self.program)
            if not inner:
                lower(module, self.program)
            self._places.append((module, before if len(self.program) > before else -1, self.program.width_out))
        self._space: Workspace | None = None
        self._rows = 0

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The output for `x`, (N, I), C-contiguous."""
        space = self._space_for(x.shape[0])
        out = np.empty((self._rows, space.width), x.dtype)
        forward_pass(space.ops, space.plan, self.storage.data, space.work, x, out, True)
        for part in self.parts:
            part._saved, part._keeper = None, self
        return out

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """The gradient of the last input for that of the last output, C-contiguous; those of the parameters are added to."""
        space = self._space
        assert space is not None
        dx = np.empty((self._rows, self.width_in), dy.dtype)
        backward_pass(space.ops, space.plan, self.storage.data, self.storage.grad, space.work, dx, dy)
        return dx

    @property
    def shape(self) -> tuple[int, int]:
        """That of the last output."""
        return self._rows, self.program.width_out

    def hand_out(self) -> None:
        """Give every module what it would have kept, had it been called by itself."""
        if self._space is None:
            return
        rows, work = self._rows, self._space.work
        for module, place, width in self._places:
            kept = None
            if place >= 0:
                op = self._space.ops[place]
                linear = op[engine.CODE] == engine.LINEAR
                at, stride = (op[engine.X], op[engine.X_STRIDE]) if linear else (op[engine.Y], op[engine.Y_STRIDE])
                kept = work[at : at + rows * stride].reshape(rows, stride)
            module._saved = kept, (rows, width)

    def _space_for(self, rows: int) -> Workspace:
        """The workspace, with room for at least `rows` rows."""
        space = self._space
        if space is None or not rows <= space.plan[engine.BATCH] <= KEPT * rows:
            self._space = space = self.program.lay_out(rows, input_delta=True)
        self._rows = rows
        return space


def _with_inner(network: Module) -> Iterator[tuple[Module, bool]]:
    """The parts of a network in the order in which they compute; with each, whether it has parts itself, which came before."""
    for _, child in network.named_children():
        inner = next(child.named_children(), None) is not None
        if inner:
            yield from _with_inner(child)
        yield child, inner
