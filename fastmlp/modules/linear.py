"""The linear layer."""

from __future__ import annotations

import math

import numpy as np

from fastmlp import checks
from fastmlp.kernels.layout import whole_lines
from fastmlp.kernels.linear import linear_backward, linear_forward
from fastmlp.modules.module import Module
from fastmlp.parameters import Parameter, gather
from fastmlp.program import Program

__all__ = ["Linear"]


class Linear(Module):
    """A linear layer: ``y = x @ weight.T + bias``.

    Parameters
    ----------
    in_features, out_features : int
        Widths of the input and the output, at least 1.
    bias : bool, default True
        Whether there is a bias.
    dtype : dtype, default float32
        float32 or float64. In a :class:`Sequential`, the dtype of the whole network counts.
    rng : None, int or Generator
        For the first values of the parameters; see :meth:`reset_parameters`.

    Attributes
    ----------
    weight : Parameter
        ``(out_features, in_features)``.
    bias : Parameter or None
        ``(out_features,)``.

    Shape: ``(N, in_features)`` to ``(N, out_features)``.

    Raises
    ------
    ValueError, TypeError
        For widths that are not whole numbers of at least 1, and when called on an input of another width.

    Notes
    -----
    Keeps a copy of its input for backward.

    Examples
    --------
    >>> import numpy as np, fastmlp as fm
    >>> layer = fm.Linear(2, 3)
    >>> layer.weight.data[:] = 1
    >>> layer.bias.data[:] = 0.5
    >>> layer(np.array([[1.0, 2.0]]))
    array([[3.5, 3.5, 3.5]], dtype=float32)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, dtype=np.float32, rng=None):
        self.in_features = checks.as_size(in_features, "in_features")
        self.out_features = checks.as_size(out_features, "out_features")
        self.weight = Parameter((self.out_features, self.in_features), dtype)
        # A layer without a bias has a row of zeros that nobody trains: the kernels know one kind of layer.
        self._bias = Parameter((self.out_features,), dtype)
        self.bias = self._bias if bias else None
        gather([self.weight, self._bias], self.weight.dtype)
        self.reset_parameters(rng)

    def reset_parameters(self, rng: int | np.random.Generator | None = None) -> None:
        """Draw weight and bias uniformly from ±1/sqrt(in_features), PyTorch's default for Linear."""
        generator = checks.as_generator(rng)
        bound = 1 / math.sqrt(self.in_features)
        self.weight.data = generator.uniform(-bound, bound, self.weight.shape)
        if self.bias is not None:
            self.bias.data = generator.uniform(-bound, bound, self.bias.shape)

    def _width_in(self) -> int:
        return self.in_features

    def _width_out(self, width: int | None) -> int:
        return self.out_features

    def _lower(self, program: Program) -> None:
        program.linear(self.weight, self._bias, self.bias is not None)

    def _forward(self, x: np.ndarray, width: int) -> tuple[np.ndarray, int]:
        if width != self.in_features:
            raise ValueError(f"{self!r} expects (N, {self.in_features}); got {(x.shape[0], width)}")
        out = self.out_features
        y = self._buffer("y", x.shape[0], out, x.dtype)
        linear_forward(y, x, self.weight.matrix, self._bias.matrix, out)
        self._saved = x, (x.shape[0], out)
        return y, out

    def _backward(self, dy: np.ndarray, width: int) -> tuple[np.ndarray, int]:
        self._saved_shape()
        x, weight, bias = self._saved[0], self.weight, self._bias
        dx = self._buffer("dx", x.shape[0], self.in_features, x.dtype)
        transposed = self._buffer("weight_t", whole_lines(self.out_features, x.dtype), self.in_features, x.dtype)
        has_bias = self.bias is not None
        linear_backward(dx, weight.grad_matrix, bias.grad_matrix, transposed, dy, x, weight.matrix, self.out_features, has_bias)
        return dx, self.in_features

    def __repr__(self) -> str:
        bias = "" if self.bias is not None else ", bias=False"
        return f"Linear({self.in_features}, {self.out_features}{bias})"
