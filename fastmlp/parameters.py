"""Parameters: named views of one flat vector of numbers and one flat gradient of the same layout."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import numpy as np

from fastmlp import checks, pickles, structure
from fastmlp.kernels.layout import row_stride, zeros

__all__ = ["Buffer", "Parameter", "Storage", "at_most", "gather", "spans_of"]

#: How many numbers the Parameters that are made in this context may have, as long as it has a limit.
_left: ContextVar[list[int] | None] = ContextVar("left", default=None)


class Storage:
    """The flat vector that parameters lie in, and the gradient beside it; both begin on a 64-byte line.

    Assigning to them copies into them, as with a Parameter.
    """

    def __init__(self, size: int, dtype: np.dtype):
        self._data, self._grad = zeros(size, dtype), zeros(size, dtype)

    @property
    def data(self) -> np.ndarray:
        return self._data

    @data.setter
    def data(self, values: Any) -> None:
        self._data[...] = checks.as_like(values, self._data, "data of a Storage")

    @property
    def grad(self) -> np.ndarray:
        return self._grad

    @grad.setter
    def grad(self, values: Any) -> None:
        self._grad[...] = checks.as_like(values, self._grad, "grad of a Storage")

    @staticmethod
    @cache
    def empty(dtype: np.dtype) -> Storage:
        """That of modules without parameters."""
        return Storage(0, dtype)


class Parameter:
    """A trainable array: a view of its owner's flat vector.

    Parameters
    ----------
    shape : tuple of int
        ``(out_features, in_features)`` for a weight, ``(features,)`` for a bias.
    dtype : dtype, default float32
        float32 or float64.

    Attributes
    ----------
    data, grad : ndarray
        The values and their gradient, of `shape`. Both are views: writing into them changes the parameter. Assigning to
        them copies into the view.
    name : str
        The name in its model's ``state_dict``, ``"0.weight"`` for instance.
    size : int
        How many numbers it holds.
    requires_grad : bool
        Whether it is trained. It may be assigned: False freezes it, in :func:`fastmlp.fit` and by hand. Then no gradient is
        computed for it (it is zero), and optimizers leave it, and what they keep for it, as it is.

    Notes
    -----
    A weight lies in memory as ``(in_features, padded out_features)``, so that the kernels read whole vectors; `data` is
    the transposed view of it that users of PyTorch expect. The padding is zero and stays zero.

    Examples
    --------
    >>> import fastmlp as fm
    >>> scale = fm.Parameter((3,))
    >>> scale.data = [1, 2, 3]
    >>> scale.data
    array([1., 2., 3.], dtype=float32)
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype | type = np.float32):
        if not isinstance(shape, (tuple, list)):
            numbers = f"; for numbers that are there: p = Parameter({shape.shape}); p.data = ..." if _has_shape(shape) else ""
            got = checks.shown(shape)
            raise TypeError(f"shape must be a tuple, (features,) or (out_features, in_features); got {got}{numbers}")
        self._shape = tuple(checks.as_size(extent, "each extent of a Parameter's shape") for extent in shape)
        if len(self.shape) not in (1, 2):
            raise ValueError(f"a Parameter has one axis or two; got the shape {self.shape}")
        left = _left.get()
        if left is not None:
            left[0] -= self.size
            if left[0] < 0:
                raise ValueError(f"a Parameter of the shape {checks.shown(self.shape)} has more numbers than are left")
        self.name = ""
        self._requires_grad = True
        self._owner: weakref.ref | None = None
        self.replaced = False  # an optimizer that still holds it would train nothing
        self._place(Storage(self._span_in(checks.as_float_dtype(dtype)), checks.as_float_dtype(dtype)), 0)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def requires_grad(self) -> bool:
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        value = checks.as_flag(value, "requires_grad")
        if value is not self._requires_grad:
            self._requires_grad = value
            if not value:
                self.grad_matrix[...] = 0
            structure.changed()

    @property
    def owner(self) -> Any:
        """The module that it is a parameter of, None where there is none (any more)."""
        return self._owner() if self._owner is not None else None

    def _span_in(self, dtype: np.dtype) -> int:
        """Entries of a flat vector that it takes, padding included."""
        rows = self.shape[1] if len(self.shape) == 2 else 1
        return rows * row_stride(self.shape[0], dtype)

    def _place(self, storage: Storage, offset: int) -> None:
        """Be the part of `storage` that begins at `offset`."""
        self.storage, self.offset, self.span = storage, offset, self._span_in(storage.data.dtype)
        self.matrix, self.grad_matrix = self._matrix_of(storage.data), self._matrix_of(storage.grad)
        self._data, self._grad = self.view_of(storage.data), self.view_of(storage.grad)

    def _matrix_of(self, flat: np.ndarray, offset: int | None = None) -> np.ndarray:
        """The parameter's part of an array laid out as its storage, as the kernels see it: padded, inputs first."""
        stride, at = row_stride(self.shape[0], flat.dtype), self.offset if offset is None else offset
        return flat[at : at + self._span_in(flat.dtype)].reshape(-1, stride)

    def view_of(self, flat: np.ndarray, offset: int | None = None) -> np.ndarray:
        """The parameter's part of an array laid out as its storage (or from an offset of its own on), in its shape."""
        padded = self._matrix_of(flat, offset)[:, : self.shape[0]]
        return padded.T if len(self.shape) == 2 else padded[0]

    def _move(self, storage: Storage, offset: int) -> None:
        """Take the values along to another storage, converting them to its dtype."""
        data, grad = self.data.copy(), self.grad.copy()
        self._place(storage, offset)
        self.data, self.grad = data, grad

    def enter(self, owner: Any) -> None:
        """Become a parameter of a module."""
        self._owner, self.replaced = weakref.ref(owner), False

    def leave(self) -> None:
        """Be a parameter of its module no longer."""
        self._owner, self.replaced = None, True

    def __getstate__(self) -> dict:
        # Its own numbers only, not those of the network whose vector it lies in.
        numbers = {"data": np.array(self.data, order="C")}
        if self.grad.any():
            numbers["grad"] = np.array(self.grad, order="C")
        return pickles.closed({"shape": self.shape, "name": self.name, "requires_grad": self._requires_grad} | numbers)

    def __setstate__(self, state: dict) -> None:
        state = pickles.opened(state, self)
        self.__init__(state["shape"], state["data"].dtype)  # type: ignore[misc]
        self.name, self._requires_grad = state["name"], state["requires_grad"]
        self._data[...], self._grad[...] = state["data"], state.get("grad", 0)

    @property
    def data(self) -> np.ndarray:
        return self._data

    @data.setter
    def data(self, values) -> None:
        self._data[...] = checks.as_like(values, self._data, f"data of {self.name or 'a Parameter'}")

    @property
    def grad(self) -> np.ndarray:
        return self._grad

    @grad.setter
    def grad(self, values) -> None:
        if values is None:  # PyTorch's "no gradient yet"
            raise TypeError("grad is an array, here always: zero_grad() sets it to zero")
        self._grad[...] = checks.as_like(values, self._grad, f"grad of {self.name or 'a Parameter'}")

    @property
    def dtype(self) -> np.dtype:
        return self.storage.data.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Refuse to be taken for its numbers: an array of parameters would be neither trained nor saved."""
        raise TypeError(f"a Parameter is no array: its numbers are {self.name or 'parameter'}.data")

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, shape={self.shape}, dtype={self.dtype})"


class Buffer(Parameter):
    """Numbers of a module that lie beside its parameters and are no parameters: those of running statistics, say.

    They are in the ``state_dict``; ``parameters()`` and optimizers do not have them, and no gradient is computed for them.

    Parameters
    ----------
    shape : tuple of int
        ``(features,)``, or two axes.
    dtype : dtype, default float32
        float32 or float64.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.BatchNorm1d(3).running_var.data
    array([1., 1., 1.], dtype=float32)
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype | type = np.float32):
        super().__init__(shape, dtype)
        self._requires_grad = False

    def __repr__(self) -> str:
        return super().__repr__().replace("Parameter", "Buffer", 1)


def _has_shape(values: Any) -> bool:
    """Whether somebody has passed the numbers themselves, as to PyTorch's Parameter."""
    return isinstance(getattr(values, "shape", None), tuple) and len(values.shape) in (1, 2)


@contextmanager
def at_most(numbers: int) -> Iterator[None]:
    """Refuse to make Parameters of more numbers than these, in all: what a file asks for may be more than there is memory."""
    before = _left.set([numbers])
    try:
        yield
    finally:
        _left.reset(before)


def gather(parameters: Iterable[Parameter], dtype: np.dtype) -> Storage:
    """Move parameters, in order, into one new storage of `dtype`."""
    parameters = list(parameters)
    sizes = [parameter._span_in(dtype) for parameter in parameters]
    storage = Storage(sum(sizes), dtype)
    offset = 0
    for parameter, size in zip(parameters, sizes):
        parameter._move(storage, offset)
        offset += size
    structure.changed()
    return storage


def spans_of(parameters: Iterable[Parameter]) -> list[tuple[Storage, int, int]]:
    """Where parameters lie, neighbours joined: storage, first entry, behind the last entry."""
    spans: list[tuple[Storage, int, int]] = []
    for parameter in parameters:
        storage, start = parameter.storage, parameter.offset
        end = start + parameter.span
        if spans and spans[-1][0] is storage and spans[-1][2] == start:
            start = spans.pop()[1]
        spans.append((storage, start, end))
    return spans
