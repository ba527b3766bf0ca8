"""Elementwise modules."""

from __future__ import annotations

import numpy as np

from fastmlp.kernels import activations
from fastmlp.modules.module import Module
from fastmlp.program import Program

__all__ = ["Identity", "ReLU", "Sigmoid", "Tanh"]


class _Activation(Module):
    """An elementwise function whose derivative is a function of its output, which is kept for backward."""

    code: int

    def _width_out(self, width: int | None) -> int | None:
        return width

    def _lower(self, program: Program) -> None:
        program.activation(self.code)

    def _forward(self, x: np.ndarray, width: int) -> tuple[np.ndarray, int]:
        y = self._buffer("y", x.shape[0], width, x.dtype)
        activations.activation_forward_copy(self.code, y, x)
        self._saved = y, (x.shape[0], width)
        return y, width

    def _backward(self, dy: np.ndarray, width: int) -> tuple[np.ndarray, int]:
        self._saved_shape()
        dx = self._buffer("dx", dy.shape[0], width, dy.dtype)
        activations.activation_backward_copy(self.code, dx, dy, self._saved[0])
        return dx, width


class ReLU(_Activation):
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

    code = activations.RELU


class Tanh(_Activation):
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

    code = activations.TANH


class Sigmoid(_Activation):
    """The logistic function: ``y = 1 / (1 + exp(-x))``, within 3 units in the last place.

    Shape: ``(N, W)`` to ``(N, W)``. Keeps its output for backward.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.Sigmoid()([[0.0, -200.0]])
    array([[0.5, 0. ]], dtype=float32)
    """

    code = activations.SIGMOID


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

    def _lower(self, program: Program) -> None:
        pass

    def _forward(self, x: np.ndarray, width: int) -> tuple[np.ndarray, int]:
        self._saved = (None, (x.shape[0], width))
        return x, width

    def _backward(self, dy: np.ndarray, width: int) -> tuple[np.ndarray, int]:
        self._saved_shape()
        return dy, width
