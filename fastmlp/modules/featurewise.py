"""The base of layers with numbers for each feature."""

from __future__ import annotations

from typing import Any

from fastmlp import checks
from fastmlp.modules.module import Module
from fastmlp.parameters import Parameter

__all__ = ["Featurewise"]


class Featurewise(Module):
    """A layer whose parameters are vectors, all of one size: what is assigned to one of them is one, too."""

    _size: int
    #: The names of the parameters, and of those that may be None.
    _vectors: tuple[str, ...] = ("weight",)
    _optional: tuple[str, ...] = ()

    def _width_in(self) -> int | None:
        return self._size

    def _width_out(self, width: int | None) -> int | None:
        expected = self._width_in()
        return width if expected is None else expected

    def _checked(self, name: str, value: Any) -> Any:
        optional = name in self._optional
        if name not in self._vectors or (optional and value is None):
            return value
        if not isinstance(value, Parameter):
            owner = checks.messages.a(type(self).__name__)
            raise TypeError(f"{name} of {owner} must be a Parameter{' or None' * optional}; got {value!r}")
        if value.shape != (self._size,):
            raise ValueError(f"{name} of {self!r} must have the shape {(self._size,)}; got {value.shape}")
        return value

    def __delattr__(self, name: str) -> None:
        if name in self._optional:
            setattr(self, name, None)
        elif name in self._vectors:
            raise AttributeError(f"{checks.messages.a(type(self).__name__)} without {name} is none")
        else:
            super().__delattr__(name)

    def _offset(self, name: str) -> int:
        """Where a parameter begins in the flat vector, -1 where there is none."""
        parameter = getattr(self, name)
        return -1 if parameter is None else parameter.offset
