"""Elementwise modules: a formula each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from fastmlp import checks, structure
from fastmlp.kernels.blocks.elementwise import Elementwise
from fastmlp.kernels.compiler.expression import select
from fastmlp.kernels.elementary import sigmoid, tanh
from fastmlp.kernels.op import Op
from fastmlp.modules.module import Module

__all__ = ["Activation", "Identity", "ReLU", "Sigmoid", "Tanh"]


class Activation(Module):
    """The base of the elementwise functions: ``y = value(x, *constants)``.

    A subclass is one formula in plain Python on numbers, ``value``; the engine's loops and, where `slope` is not written, the
    derivative are made of it.

    Attributes
    ----------
    value : callable
        Static: ``value(x, *constants)``.
    slope : callable, optional
        Static: the derivative, ``slope(saved, *constants)``.
    saves : {"y", "x"}
        What `slope` reads: the output or the input. A derived slope reads x.
    constants : tuple of str
        Names of attributes that are numbers of the formula. They are values in the program: to change one compiles nothing.
    cases : tuple of dict
        Arguments that tests, golden numbers and benchmarks go through.
    """

    value: Callable[..., Any]
    slope: Callable[..., Any] | None = None
    saves = "y"
    constants: ClassVar[tuple[str, ...]] = ()
    cases: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    #: Where the function is max(x, floor): the product before it can do that too.
    floor: float | None = None

    def _width_out(self, width: int | None) -> int | None:
        return width

    def _ops(self, width: int) -> list[Op]:
        saves = self.saves if self.slope is not None else "x"
        return [Elementwise(width, self._formula, self.value, self.slope, saves, self._numbers(), self.floor)]

    @property
    def _formula(self) -> str:
        """The name of the formula; it differs where the options of a class choose between several."""
        return type(self).__name__.lower()

    def _numbers(self) -> tuple[float, ...]:
        return tuple(getattr(self, name) for name in self.constants)

    def _check_attribute(self, name: str, value: Any) -> None:
        if name in self.constants:
            checks.as_number(value, name, least=-float("inf"))
            structure.changed()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name):g}' for name in self.constants)})"


class ReLU(Activation):
    """The rectifier: ``y = max(x, 0)``, with the derivative 0 at 0.

    Shape: ``(N, W)`` to ``(N, W)``. NaN stays NaN. Keeps its output for backward.

    References
    ----------
    X. Glorot, A. Bordes, Y. Bengio, "Deep sparse rectifier neural networks", AISTATS 2011.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.ReLU()([[-1.0, 2.0]])
    array([[0., 2.]], dtype=float32)
    """

    floor = 0.0

    @staticmethod
    def value(x):
        return select(x < 0, 0, x)

    @staticmethod
    def slope(y):
        return select(y > 0, 1, 0)


class Tanh(Activation):
    """The hyperbolic tangent: ``y = tanh(x)``, within 2 units in the last place.

    Shape: ``(N, W)`` to ``(N, W)``. Keeps its output for backward.

    References
    ----------
    Y. LeCun et al., "Efficient BackProp", section 4.4, 1998.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.Tanh()([[0.0, 0.5]])
    array([[0.        , 0.46211717]], dtype=float32)
    """

    value = staticmethod(tanh)

    @staticmethod
    def slope(y):
        return 1 - y * y


class Sigmoid(Activation):
    """The logistic function: ``y = 1 / (1 + exp(-x))``, within 3 units in the last place.

    Shape: ``(N, W)`` to ``(N, W)``. Keeps its output for backward.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.Sigmoid()([[0.0, -200.0]])
    array([[0.5, 0. ]], dtype=float32)
    """

    value = staticmethod(sigmoid)

    @staticmethod
    def slope(y):
        return y * (1 - y)


class Identity(Module):
    """Nothing: ``y = x``.

    Shape: ``(N, W)`` to ``(N, W)``.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.Identity()([[1.0, 2.0]])
    array([[1., 2.]], dtype=float32)
    """

    def _width_out(self, width: int | None) -> int | None:
        return width

    def _ops(self, width: int) -> list[Op]:
        return []
