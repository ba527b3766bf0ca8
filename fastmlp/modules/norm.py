"""The base of the layers that normalize a row."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp import checks, structure
from fastmlp.modules.featurewise import Featurewise
from fastmlp.parameters import Parameter

__all__ = ["RowNorm"]


class RowNorm(Featurewise):
    """A layer that brings each row to a normal form, and gives each feature a factor, and perhaps a summand."""

    eps: float | None
    weight: Parameter | None
    _vectors: tuple[str, ...] = ("weight",)
    _optional: tuple[str, ...] = ("weight",)

    def __init__(self, normalized_shape: int | tuple[int], eps: float | None, elementwise_affine: bool, dtype: Any):
        self._size = _width_of(normalized_shape)
        self.eps = eps
        affine = checks.as_flag(elementwise_affine, "elementwise_affine")
        self.weight = Parameter((self._size,), dtype) if affine else None

    @property
    def normalized_shape(self) -> tuple[int]:
        """The width, as PyTorch has it: a tuple of one."""
        return (self._size,)

    @property
    def elementwise_affine(self) -> bool:
        """Whether each feature has a factor, or a summand."""
        return any(getattr(self, name) is not None for name in self._optional)

    def reset_parameters(self, rng: int | np.random.Generator | None = None) -> None:
        """Set the factors to 1; nothing is drawn."""
        if self.weight is not None:
            self.weight.data = np.ones(self._size)

    def _checked(self, name: str, value: Any) -> Any:
        return checks.as_number(value, name) if name == "eps" else super()._checked(name, value)

    def _options(self) -> tuple[Any, ...]:
        return (self.eps,)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "eps":
            structure.changed()


def _width_of(shape: Any) -> int:
    """The width of a `normalized_shape`: a whole number, or a tuple of one."""
    if isinstance(shape, (tuple, list)):
        if len(shape) != 1:
            raise ValueError(f"normalized_shape must be the width of the rows, or a tuple of it; got {shape!r}")
        shape = shape[0]
    return checks.as_size(shape, "normalized_shape")
