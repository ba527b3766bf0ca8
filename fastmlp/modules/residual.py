"""A residual connection."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.blocks.residual import Fork, Join
from fastmlp.kernels.op import Op
from fastmlp.modules.module import Module
from fastmlp.modules.route import flat_row, ops_of, options_of, runs_in_engine
from fastmlp.modules.sequential import Sequential

__all__ = ["Residual"]


class Residual(Sequential):
    """Modules in a row, whose output is added to the input: ``y = x + f(x)``.

    Parameters
    ----------
    *modules : Module
        Those of f, at least one; its output has the width of its input.
    dtype : dtype, optional
        float32 or float64, for all parameters. By default the dtype the modules have.

    Shape: ``(N, W)`` to ``(N, W)``.

    Raises
    ------
    TypeError, ValueError
        As :class:`Sequential`, and where the output of f is not as wide as its input.

    Notes
    -----
    Runs in the engine like any other layer; with a module written in Python among the modules of f, it runs in Python.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential(fm.Linear(2, 8), fm.Residual(fm.LayerNorm(8), fm.Linear(8, 8), fm.ReLU()), fm.Linear(8, 1))
    >>> model
    Sequential(
      (0): Linear(2, 8)     24 parameters
      (1): Residual(
        (0): LayerNorm((8,), eps=1e-05, elementwise_affine=True)     16 parameters
        (1): Linear(8, 8)                                            72 parameters
        (2): ReLU()
      )  88 parameters, float32
      (2): Linear(8, 1)     9 parameters
    )  121 parameters, float32
    """

    _dissolves = False

    def _set_row(self, row: dict[str, Module]) -> None:
        before = self.__dict__.get("_modules")
        super()._set_row(row)
        width, narrow = self._width, Sequential._width_out(self, self._width)
        if width is not None and narrow is not None and narrow != width:
            if before is not None:
                super()._set_row(before)
            raise ValueError(f"the modules of a Residual must leave the width as it is; they make {narrow} of {width} features")

    @property
    def least_rows(self) -> int:  # type: ignore[override]
        """Rows that a batch of training must have."""
        return max([1, *(part.least_rows for part in flat_row(self) if part.training)])

    def _options(self) -> tuple[Any, ...]:
        return tuple(options_of(flat_row(self)))

    def _ops(self, width: int) -> list[Op]:
        fork = Fork(width)
        return [fork, *ops_of(flat_row(self), width), Join(fork)]

    def _stand_in(self) -> Module:
        if not runs_in_engine(self) or all(map(runs_in_engine, flat_row(self))):
            return self
        return self.__dict__.setdefault("_adapter", ResidualInPython(self))


class ResidualInPython(Module):
    """What a :class:`Residual` does where a module of its own is written in Python."""

    def __init__(self, residual: Residual):
        self.__dict__["_inside"] = residual[:]  # past __setattr__, which would take the modules over

    def _width_in(self) -> int | None:
        return self.__dict__["_inside"]._width_in()

    def _width_out(self, width: int | None) -> int | None:
        return width

    def forward(self, x: np.ndarray) -> np.ndarray:
        inside = self.__dict__["_inside"]
        inside.__dict__["training"] = self.training
        return x + inside(x)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return dy + self.__dict__["_inside"].backward(dy)
