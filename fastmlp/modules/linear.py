"""The linear layer."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.kernels.blocks.linear import Linear as LinearOp
from fastmlp.kernels.op import Op
from fastmlp.modules.module import Module
from fastmlp.parameters import Parameter

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

    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {"in_features": "width", "out_features": "width"},
        {"in_features": "width", "out_features": "width", "bias": False},
    )
    _vectors = ("weight", "bias")

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, dtype=np.float32, rng=None):
        width_in, width_out = checks.as_size(in_features, "in_features"), checks.as_size(out_features, "out_features")
        self._shape = width_out, width_in
        self.weight = Parameter(self._shape, dtype)
        self.bias = Parameter((width_out,), dtype) if bias else None
        self.reset_parameters(rng)

    @property
    def in_features(self) -> int:
        """The width of the input."""
        return self._shape[1]

    @property
    def out_features(self) -> int:
        """The width of the output."""
        return self._shape[0]

    def reset_parameters(self, rng: int | np.random.Generator | None = None) -> None:
        """Draw weight and bias uniformly from ±1/sqrt(in_features), PyTorch's default for Linear."""
        generator = checks.as_generator(rng)
        bound = 1 / math.sqrt(self.in_features)
        self.weight.data = generator.uniform(-bound, bound, self.weight.shape)
        if self.bias is not None:
            self.bias.data = generator.uniform(-bound, bound, self.bias.shape)

    def _checked(self, name: str, value: Any) -> Any:
        shapes = {"weight": self._shape, "bias": self._shape[:1]} if name in ("weight", "bias") else {}
        if name not in shapes or (name == "bias" and value is None):
            return value
        if not isinstance(value, Parameter):
            raise TypeError(f"{name} of a Linear must be a Parameter{' or None' * (name == 'bias')}; got {value!r}")
        if value.shape != shapes[name]:
            raise ValueError(f"{name} of {self!r} must have the shape {shapes[name]}; got {value.shape}")
        return value

    def __delattr__(self, name: str) -> None:
        if name == "bias":
            self.bias = None
        elif name == "weight":
            raise AttributeError("a Linear without a weight is none")
        else:
            super().__delattr__(name)

    def _width_in(self) -> int:
        return self.in_features

    def _width_out(self, width: int | None) -> int:
        return self.out_features

    def _ops(self, width: int) -> list[Op]:
        bias = self.bias.offset if self.bias is not None else -1
        return [LinearOp(self.in_features, self.out_features, self.weight.offset, bias)]

    def __repr__(self) -> str:
        bias = "" if self.__dict__.get("bias") is not None or "bias" not in self.__dict__ else ", bias=False"
        return f"Linear({self.in_features}, {self.out_features}{bias})"
